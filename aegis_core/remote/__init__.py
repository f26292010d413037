"""A governor that answers over HTTP. Nothing here loads the Redis client."""
