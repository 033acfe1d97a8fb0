"""What a cell is called in verdicts: no two cells of a matrix alike."""

from __future__ import annotations

from benchsuite.record import Cell


def cell_name(cell: Cell) -> str:
    """The cell's label, then its batch size and its device where these are not 1 and the CPU.

    >>> cell_name(Cell("generation", "tiny", "nf4-g64", batch_size=8))
    'generation tiny-nf4-g64 ×8'
    """
    batch = f"×{cell.batch_size}" if cell.batch_size != 1 else ""
    device = cell.device if cell.device != "cpu" else ""
    return " ".join(filter(None, (cell.label(), batch, device)))
