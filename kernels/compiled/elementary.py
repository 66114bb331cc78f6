"""Elementary functions: single precision by polynomials within a few ulp, double by the C library.

Each is written once, in LLVM's instructions: for the vectors of `programs`, and as a function of one number for what
numba compiles. NaN gives NaN and overflow infinity, as in NumPy; results below 2.5e-38 may be 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from kernels.compiled.jit import emitted
from kernels.compiled.vectors import Numbers

# exp: Cephes expf; the argument is reduced by k ln 2 in two pieces
_LOG2E, _LN2_HIGH, _LN2_LOW = 1.44269504, 0.693359375, -2.12194440e-4
_EXP: Final = (
    1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5,
)  # fmt: skip
_LEAST, _MOST = -86.6, 88.722839

# tanh and erf: rational functions of Eigen, odd over even, for |x| up to where float32 rounds to 1
_TANH_MOST: Final = 7.90531110763549805
_TANH_ODD: Final = (
    -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
    1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03,
)  # fmt: skip
_TANH_EVEN: Final = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
_ERF_MOST: Final = 4.0
_ERF_ODD: Final = (
    -2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05,
    -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02,
)  # fmt: skip
_ERF_EVEN: Final = (
    -1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03, -1.42647390514189e-02,
)  # fmt: skip

# log: Cephes logf
_ROOT_HALF: Final = 0.707106781186547524
_LOG: Final = (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
    2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip

# expm1 near 0: the series up to x**8
_EXPM1: Final = tuple(1 / math.factorial(n) for n in range(8, 1, -1))

Write = Callable[[Numbers, Any], Any]


def _exp(n: Numbers, x: Any) -> Any:
    t = n.at_most(n.at_least(x, _LEAST), _MOST)
    k = n.intrinsic("floor", n.multiply_add(t, n.constant(_LOG2E), n.constant(0.5)))
    t = n.multiply_add(k, n.constant(-_LN2_HIGH), t)
    t = n.multiply_add(k, n.constant(-_LN2_LOW), t)
    y = n.multiply_add(n.polynomial(t, _EXP), n.multiply(t, t), n.add(t, n.constant(1)))
    exponent = n.builder.add(n.as_integer(k), n.integer(126))  # half of 2**k, which is never out of range
    y = n.multiply(n.multiply(y, n.from_bits(n.builder.shl(exponent, n.integer(23)))), n.constant(2))
    y = n.select(n.compare(">", x, n.constant(_MOST)), n.constant(math.inf), y)
    y = n.select(n.compare("<", x, n.constant(_LEAST)), n.constant(0), y)
    return n.select(n.is_nan(x), x, y)


def _expm1(n: Numbers, x: Any) -> Any:
    near = n.multiply_add(n.multiply(n.polynomial(x, _EXPM1), x), x, x)
    is_near = n.compare("<", n.intrinsic("fabs", x), n.constant(0.5))
    return n.select(is_near, near, n.subtract(_exp(n, x), n.constant(1)))


def _log(n: Numbers, x: Any) -> Any:
    bits, builder = n.bits_of(x), n.builder
    exponent = n.as_number(builder.sub(builder.ashr(bits, n.integer(23)), n.integer(126)))
    m = n.from_bits(builder.or_(builder.and_(bits, n.integer(0x7FFFFF)), n.integer(0x3F000000)))
    is_low = n.compare("<", m, n.constant(_ROOT_HALF))
    exponent = n.select(is_low, n.subtract(exponent, n.constant(1)), exponent)
    m = n.subtract(n.select(is_low, n.add(m, m), m), n.constant(1))
    q = n.multiply(m, m)
    y = n.multiply_add(exponent, n.constant(_LN2_LOW), n.multiply(n.multiply(m, q), n.polynomial(m, _LOG)))
    y = n.multiply_add(q, n.constant(-0.5), y)
    y = n.multiply_add(exponent, n.constant(_LN2_HIGH), n.add(m, y))
    y = n.select(n.compare("==", x, n.constant(0)), n.constant(-math.inf), y)
    y = n.select(n.compare("==", x, n.constant(math.inf)), x, y)
    return n.select(n.compare(">=", x, n.constant(0)), y, n.constant(math.nan))


def _log1p(n: Numbers, x: Any) -> Any:
    u = n.add(n.constant(1), x)
    y = n.multiply(_log(n, u), n.divide(x, n.subtract(u, n.constant(1))))  # Kahan: the rounding of 1 + x divides out
    y = n.select(n.compare("==", u, n.constant(1)), x, y)
    return n.select(n.compare("==", x, n.constant(math.inf)), x, y)


def _rational(n: Numbers, x: Any, most: float, odd: tuple[float, ...], even: tuple[float, ...]) -> Any:
    t = n.select(n.is_nan(x), x, n.at_most(n.at_least(x, -most), most))
    q = n.multiply(t, t)
    return n.divide(n.multiply(t, n.polynomial(q, odd)), n.polynomial(q, even))


def _tanh(n: Numbers, x: Any) -> Any:
    y = _rational(n, x, _TANH_MOST, _TANH_ODD, _TANH_EVEN)
    y = n.select(n.compare(">", x, n.constant(_TANH_MOST)), n.constant(1), y)
    return n.select(n.compare("<", x, n.constant(-_TANH_MOST)), n.constant(-1), y)


def _erf(n: Numbers, x: Any) -> Any:
    y = _rational(n, x, _ERF_MOST, _ERF_ODD, _ERF_EVEN)
    y = n.select(n.compare(">=", x, n.constant(_ERF_MOST)), n.constant(1), y)
    return n.select(n.compare("<=", x, n.constant(-_ERF_MOST)), n.constant(-1), y)


FUNCTIONS: Final[dict[str, Write]] = {
    "exp": _exp, "expm1": _expm1, "log": _log, "log1p": _log1p, "tanh": _tanh, "erf": _erf,
}  # fmt: skip


def write(name: str, n: Numbers, x: Any) -> Any:
    """The instructions of one of these functions, of all lanes of x."""
    return FUNCTIONS[name](n, x) if n.single else n.by_library(name, x)


def _function(name: str) -> Callable[[Any], Any]:
    def emit(_typing: Any, x: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            return write(name, Numbers(builder, context.get_data_type(signature.args[0])), given[0])

        return x(x), generate

    return emitted(emit)


exp, expm1, log, log1p, tanh = (_function(name) for name in ("exp", "expm1", "log", "log1p", "tanh"))
