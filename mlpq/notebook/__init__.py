"""How jobs and data sets look in a notebook: cards in HTML, drawn again while something happens."""
