-- Health of a LiveCluster for Argo CD, which calls it with the resource `obj`. It needs no library of Lua.

-- Reasons of conditions that pass by themselves, once Pods have started or controllers have answered. All others need a user.
local passing = {
  Deleting = true,
  EdgesUnavailable = true,
  GatewayAddressPending = true,
  LeftOver = true,
  LoadBalancerPending = true,
  NodeUnreachable = true,
  OriginsUnavailable = true,
  RoutesPending = true,
}

local function health(status, message)
  return { status = status, message = message }
end

if obj.spec ~= nil and obj.spec.paused then
  return health("Suspended", "spec.paused is true")
end

local status = obj.status or {}
if status.conditions == nil or status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", "the operator has not seen this generation yet")
end

local conditions = {}
for _, condition in ipairs(status.conditions) do
  conditions[condition.type] = condition
end
local ready, degraded, progressing = conditions.Ready, conditions.Degraded, conditions.Progressing
if ready == nil then
  return health("Progressing", "the operator has not written the condition Ready yet")
end
if ready.reason == "Stopped" then
  return health("Suspended", ready.message)
end

local is_ready = ready.status == "True"
local is_degraded = degraded ~= nil and degraded.status == "True"
-- Degraded names the failure of a Pod where Ready only says that Pods are missing.
if is_degraded and not passing[degraded.reason] then
  return health("Degraded", degraded.message)
end
if not is_ready and not passing[ready.reason] then
  return health("Degraded", ready.message)
end
if is_degraded then
  return health("Progressing", degraded.message)
end
if not is_ready then
  return health("Progressing", ready.message)
end
-- Edges that retire keep their last viewers for up to an hour: nobody has to wait for them.
if progressing ~= nil and progressing.status == "True" and progressing.reason ~= "RetiringEdges" then
  return health("Progressing", progressing.message)
end
return health("Healthy", ready.message)
