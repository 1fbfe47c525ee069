"""The loss's curve in Braille dots."""

from flows.view.curve import draw_curve


def test_a_falling_curve_falls_without_gaps() -> None:
    """Each column of dots begins where the one before it ended."""
    assert draw_curve([4, 3, 2, 1], width=2, height=1) == ["⠑⢄"]
    assert draw_curve([8, 1], width=1, height=2) == ["⢱", "⢸"]


def test_a_flat_curve_lies_at_the_bottom() -> None:
    """Equal values are drawn as a line, and what is not reached yet stays empty."""
    assert draw_curve([2.0] * 4, width=4, height=2, share=0.5) == ["⠀⠀⠀⠀", "⣀⣀⠀⠀"]


def test_few_values_are_joined_by_lines() -> None:
    """Two values make a straight line over the asked share of the width."""
    assert draw_curve([1.0, 8.0], width=4, height=2) == ["⠀⠀⡠⠊", "⡠⠊⠀⠀"]


def test_many_values_are_put_together() -> None:
    """However many values there are, the curve has the asked width."""
    lines = draw_curve([1 / (n + 1) for n in range(10_000)], width=20, height=3)
    assert [len(line) for line in lines] == [20, 20, 20]
