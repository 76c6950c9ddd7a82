"""The training core: loop, optimizer, losses."""
