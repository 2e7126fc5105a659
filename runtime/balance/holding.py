"""Requests for which no replica is there wait, instead of being refused.

A lane whose servers are all down sends its requests back into HAProxy, through a socket of its own
(its *backup* server): there they wait until any lane with a share has a server, and go to it, or
get a 503 when their time is up. So nobody who comes while a service is scaled to zero, or while its
last replica restarts, is turned away; and a request that a replica refused is not lost when that
was the last one. HAProxy cannot wait by itself (with no server it answers 503 at once), so these
lines of Lua do; they run only for such requests.
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.balance import maps

FILE = "hold.lua"
HEADER = "inferry-hold-until"
"""When the wait ends, in milliseconds since 1970: a request that comes back a second time waits no
longer for it. Clients cannot set it."""

_LUA = """\
local function now_ms()
  local now = core.now()
  return now.sec * 1000 + now.usec // 1000
end

local function choose(txn, service, lanes)
  local live, total = {}, 0
  for lane = 0, lanes - 1 do
    local share = tonumber(shares[service]:lookup(tostring(lane)) or 0)
    if share > 0 and txn.f:nbsrv(service .. "." .. lane .. ".live") > 0 then
      total = total + share
      live[#live + 1] = { lane = lane, below = total }
    end
  end
  if total == 0 then return nil end
  local at = txn.f:rand(total)
  for _, one in ipairs(live) do
    if at < one.below then return one.lane end
  end
end

core.register_action("hold", { "http-req" }, function(txn, service, lanes, hold_ms)
  local began_ms = now_ms()
  local until_ms = tonumber(txn.sf:req_hdr(header))
  if until_ms == nil then until_ms = began_ms + tonumber(hold_ms) end
  txn:set_var("txn.until", tostring(until_ms))
  while true do
    local lane = choose(txn, service, tonumber(lanes))
    if lane ~= nil then
      txn:set_var("txn.lane", tostring(lane))
      return
    end
    if now_ms() >= until_ms then return end
    -- Many may wait for long: they look less often then.
    core.msleep(now_ms() - began_ms < 1000 and 20 or 100)
  end
end, 3)
"""


def lua(services: Sequence[str]) -> str:
    """The program for services of these names."""
    shares = "".join(
        f'shares["{name}"] = Map.new("{maps.lanes_file(name)}", Map._int)\n' for name in services
    )
    return f'local header = "{HEADER}"\nlocal shares = {{}}\n{shares}\n{_LUA}'
