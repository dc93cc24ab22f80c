# The plots of the part "grow"; run.sh gives data, out and type.

if (type eq "svg") set terminal svg noenhanced size 800,560 font "sans,13" background "white"; else set terminal pngcairo noenhanced size 1200,840 font "sans,15"
set grid xtics ytics lt 1 lw 1 lc rgb "#cccccc"
set logscale xy
set key top left
set style data linespoints
set pointsize 1

set output out . "/throughput." . type
set title "Throughput against requests in flight (medians)"
set xlabel "requests in flight"
set ylabel "per second"
set format y "%.0f"
set xrange [0.9:1150]
set key bottom right
plot data . "/in_flight" using 1:2 title "libcurl bare, no delay" lc rgb "#888888" pt 6 lw 2, \
	"" using 1:3 title "digipay queue, no delay" lc rgb "#0055aa" pt 7 lw 2, \
	"" using 1:4 title "libcurl bare, peer takes 200 ms" lc rgb "#888888" pt 4 dt 2 lw 2, \
	"" using 1:5 title "digipay queue, peer takes 200 ms" lc rgb "#cc5500" pt 5 dt 2 lw 2

set output out . "/cpu." . type
set title "Processor time of one process per payment, no delay (medians)"
set ylabel "microseconds"
set key top right
plot data . "/in_flight" using 1:6 title "libcurl bare: the program" lc rgb "#888888" pt 6 lw 2, \
	"" using 1:7 title "digipay queue: the worker" lc rgb "#0055aa" pt 7 lw 2

set output out . "/reply_size." . type
set title "Throughput against reply size, 32 in flight (medians)"
set xlabel "reply, bytes"
set ylabel "per second"
set xrange [300:1300000]
set format x "%.0f"
plot data . "/size" using 1:2 title "libcurl bare" lc rgb "#888888" pt 6 lw 2, \
	"" using 1:3 title "digipay queue" lc rgb "#0055aa" pt 7 lw 2

set output out . "/latency." . type
set title "Latency against sessions (medians)"
set xlabel "sessions at once"
set ylabel "milliseconds"
set xrange [0.9:72]
set xtics (1, 2, 4, 8, 16, 32, 64)
set format y "%g"
set key top left
plot data . "/sessions" using 1:($2/1000) title "digipay_pay, p50" lc rgb "#0055aa" pt 7 lw 2, \
	"" using 1:($3/1000) title "digipay_pay, p99" lc rgb "#0055aa" pt 7 dt 2 lw 2, \
	"" using 1:($4/1000) title "two commits alone, p50" lc rgb "#888888" pt 6 lw 2, \
	"" using 1:($5/1000) title "two commits alone, p99" lc rgb "#888888" pt 6 dt 2 lw 2
