std = "lua54"
max_line_length = 120
self = false
codes = true
exclude_files = { "build", "lua/pofit/_meta.lua" }
-- a name that begins with _ says that it is not used
ignore = { "21[123]/_.*" }
files["tests/lua"] = { ignore = { "113/pring", "111/oops" } }
