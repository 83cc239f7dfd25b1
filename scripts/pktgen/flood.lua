-- A flood of DATA headers with random receivers at line rate for 30 s, beside live load from another port or host,
-- with what came back: a relay must answer none of it. Start Pktgen in this folder: ... -f flood.lua
dofile("lab.lua")

local any = string.rep("X", 32)

lab.prepare(128, 32)
-- Type 4, version 1, sealed length 50; then receiver and counter (see flood_unknown.pkt).
pktgen.rnd(lab.port, 0, 42, "00000100000000010011001000000000")
pktgen.rnd(lab.port, 1, 46, any)
pktgen.rnd(lab.port, 2, 50, any)
pktgen.rnd(lab.port, 3, 54, string.rep("X", 24) .. "00000000")
local sent, received, pps = lab.trial(100, 30)
printf("sent %d packets, %d a second; %d came back\n", sent, pps, received)
pktgen.quit()
