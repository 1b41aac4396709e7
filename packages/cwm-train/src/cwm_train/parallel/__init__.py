"""One model over many processes: sharded, cut by heads and columns, cut along the sequence."""
