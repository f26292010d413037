"""The Telegram channel (extra `telegram`)."""
