-- For wrk: post the lines of the file $BODIES, one after another.

local requests = {}
local number = 0

function init(args)
	for body in io.lines(os.getenv("BODIES")) do
		requests[#requests + 1] = wrk.format("POST", nil, {["Content-Type"] = "application/json"}, body)
	end
end

function request()
	number = number % #requests + 1
	return requests[number]
end
