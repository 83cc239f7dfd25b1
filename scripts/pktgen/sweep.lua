-- Sizes by rates, 5 s each, as a table: what the generator and the link give, with packets that the relay drops.
-- Start Pktgen in this folder: ... -f sweep.lua
dofile("lab.lua")

local sizes = { 64, 128, 512, 1518 }
local rates = { 1, 10, 25, 50, 100 }

lab.prepare(sizes[1], 32)
printf("%8s %6s %14s %14s %12s\n", "bytes", "rate %", "packets/s", "sent", "Mbit/s")
for _, size in ipairs(sizes) do
  pktgen.set(lab.port, "size", size)
  for _, rate in ipairs(rates) do
    local sent, _, pps, mbits = lab.trial(rate, 5)
    printf("%8d %6d %14d %14d %12d\n", size, rate, pps, sent, mbits)
  end
end
pktgen.quit()
