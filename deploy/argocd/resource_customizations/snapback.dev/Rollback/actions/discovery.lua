local actions = {}
local phase = obj.status ~= nil and obj.status.phase or nil
local undone = phase == "Succeeded" or phase == "Failed" or phase == "Escalated"
actions["release"] = {
  ["disabled"] = not undone or obj.spec.released ~= nil,
  ["params"] = {{["name"] = "reason"}}
}
return actions
