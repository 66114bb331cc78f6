"""The event parser: whatever the chunks, the events are those of the whole stream."""

from __future__ import annotations

import itertools

from hypothesis import example, given
from hypothesis import strategies as st

from mlpq.sse import EventParser, ServerEvent

LINE_ENDS = ("\n", "\r\n", "\r")
text = st.text(st.characters(blacklist_characters="\r\n\0", blacklist_categories=("Cs",)), max_size=20)


def parse(stream: bytes, cuts: list[int]) -> list[ServerEvent]:
    """All events of a stream that arrives in pieces."""
    parser = EventParser()
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[begin:end] for begin, end in itertools.pairwise(edges)]
    return [event for piece in pieces for event in parser.feed(piece)]


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[ServerEvent]]:
    """A well-formed stream and what it says, with any mixture of line ends."""
    lines: list[str] = []
    expected: list[ServerEvent] = []
    last_id = ""
    for _ in range(draw(st.integers(0, 6))):
        kind, data = draw(text), draw(st.lists(text, min_size=1, max_size=3))
        if draw(st.booleans()):
            lines.append(f": {draw(text)}")
        if draw(st.booleans()):
            last_id = str(draw(st.integers(0, 10**9)))
            lines.append(f"id: {last_id}")
        if kind:
            lines.append(f"event: {kind}")
        lines += [f"data: {line}" for line in data] + [""]
        expected.append(ServerEvent(kind or "message", "\n".join(data), last_id))
    stream, end = "", "\n"
    for line in lines:
        # A lone CR before an empty line that ends with LF would be one CRLF.
        allowed = ("\r\n", "\r") if not line and end == "\r" else LINE_ENDS
        end = draw(st.sampled_from(allowed))
        stream += line + end
    return stream.encode(), expected


@given(streams(), st.lists(st.integers(0, 400), max_size=12), st.booleans())
def test_what_was_written_is_read_wherever_it_is_cut(
    written: tuple[bytes, list[ServerEvent]], cuts: list[int], marked: bool
) -> None:
    stream = (b"\xef\xbb\xbf" if marked else b"") + written[0]
    assert parse(stream, cuts) == written[1]
    assert parse(stream, list(range(len(stream)))) == written[1]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
@example(b"data: \xff\xfe\n\n", [7])
def test_any_bytes_are_read_without_an_error(stream: bytes, cuts: list[int]) -> None:
    assert parse(stream, cuts) == parse(stream, [])


def test_an_event_that_is_not_closed_is_dropped() -> None:
    parser = EventParser()
    assert parser.feed(b"id: 7\ndata: lost") == []
    assert parser.last_event_id == ""


def test_ids_last_until_changed_and_nul_is_ignored() -> None:
    events = EventParser().feed(b"id: 1\ndata: a\n\ndata: b\n\nid: 2\0\ndata: c\n\nid\ndata: d\n\n")
    assert [event.id for event in events] == ["1", "1", "1", ""]


def test_comments_and_unknown_fields_say_nothing() -> None:
    parser = EventParser()
    assert parser.feed(b": ping\n\nunknown: 1\nretry: 1500\nretry: x\n\n") == []
    assert parser.retry_ms == 1500


def test_exactly_one_space_belongs_to_the_colon() -> None:
    events = EventParser().feed(b"data:  two\ndata:none\ndata\n\n")
    assert events[0].data == " two\nnone\n"
