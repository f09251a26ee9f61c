-- /api/ps of a pool: what every server has loaded, each entry with the `server` that has it.

local CHECK_S = 5

-- The top-level elements of a JSON array of objects, as text. Only strings and nesting have to be understood for that.
local function elements(array)
  local found, depth, start, quoted, escaped = {}, 0, nil, false, false
  for at = 1, #array do
    local char = array:sub(at, at)
    if quoted then
      if escaped then
        escaped = false
      elseif char == "\\" then
        escaped = true
      elseif char == '"' then
        quoted = false
      end
    elseif char == '"' then
      quoted = true
    elseif char == "{" then
      if depth == 0 then start = at end
      depth = depth + 1
    elseif char == "}" then
      depth = depth - 1
      if depth == 0 then found[#found + 1] = array:sub(start, at) end
    end
  end
  return found
end

core.register_service("pool_ps", "http", function(applet)
  local models, answered = {}, 0
  for name, server in pairs(core.backends["inference"].servers) do
    if server:get_stats()["status"]:find("^UP") or server:get_stats()["status"]:find("^DRAIN") then
      local client = core.httpclient()
      local answer = client:get({ url = "http://" .. server:get_addr() .. "/api/ps", timeout = CHECK_S * 1000 })
      local array = answer.status == 200 and answer.body and answer.body:match('^%s*{%s*"models"%s*:%s*%[(.*)%]')
      if array then
        answered = answered + 1
        for _, element in ipairs(elements(array)) do
          models[#models + 1] = '{"server":"' .. name .. '",' .. element:sub(2)
        end
      end
    end
  end
  table.sort(models)
  local body = '{"models":[' .. table.concat(models, ",") .. "]}"
  if answered == 0 then
    applet:set_status(503)
    body = '{"error":"no server of the pool answers"}'
  else
    applet:set_status(200)
  end
  applet:add_header("content-type", "application/json; charset=utf-8")
  applet:add_header("content-length", #body)
  applet:start_response()
  if applet.method ~= "HEAD" then applet:send(body) end
end)
