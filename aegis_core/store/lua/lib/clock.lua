  -- The one place where time is read: the server's, in whole milliseconds.
  local clock = call('TIME')
  NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)
