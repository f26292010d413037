"""Where operators are asked: each channel is a folder whose `CHANNEL` says what it needs."""
