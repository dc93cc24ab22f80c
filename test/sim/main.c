/*
 * main.c
 *		A seeded simulator: random clients, faults and kills, judged by the
 *		books of the provider's double.
 *
 *	sim --seed N ...	see usage(); test/sim/run.sh sets the scene and calls it
 *
 * The plan is made from the seed: the payments, how each of them is paid, what
 * the provider makes of it, what is killed when.  How the processes then meet
 * is the machine's business, so that the same seed gives the same plan and
 * nearly the same run.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"

Options		options = {
	.payments = WHOLE_RUN,
	.clients = 32,
	.worker_kills = 50,
	.postmaster_kills = 5,
};
Features	features;
char		api_key[40];
char		webhook_secret[40];

/*
 * Say how it is called, and end.
 */
static void
usage(void)
{
	fputs("usage: sim --seed N --bindir DIR --data DIR --socket-dir DIR --log FILE --provider FILE\n"
		  "  --payments N          (13000)\n"
		  "  --clients N           (32)\n"
		  "  --worker-kills N      (50)\n"
		  "  --postmaster-kills N  (5)\n"
		  "  --fault-points        they are compiled in\n"
		  "  --stop-at-first       end with the first violation\n"
		  "  --verbose             every error that a client gets\n", stderr);
	exit(2);
}

/*
 * Read the command line.
 */
static void
read_options(int argc, char **argv)
{
	static const struct option known[] = {
		{"seed", required_argument, NULL, 's'},
		{"payments", required_argument, NULL, 'n'},
		{"clients", required_argument, NULL, 'c'},
		{"worker-kills", required_argument, NULL, 'w'},
		{"postmaster-kills", required_argument, NULL, 'p'},
		{"bindir", required_argument, NULL, 'b'},
		{"data", required_argument, NULL, 'd'},
		{"socket-dir", required_argument, NULL, 'k'},
		{"log", required_argument, NULL, 'l'},
		{"provider", required_argument, NULL, 'x'},
		{"fault-points", no_argument, NULL, 'f'},
		{"stop-at-first", no_argument, NULL, '1'},
		{"verbose", no_argument, NULL, 'v'},
		{NULL, 0, NULL, 0}
	};
	int			option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1)
	{
		switch (option)
		{
			case 's':
				options.seed = strtoull(optarg, NULL, 10);
				break;
			case 'n':
				options.payments = atoi(optarg);
				break;
			case 'c':
				options.clients = atoi(optarg);
				break;
			case 'w':
				options.worker_kills = atoi(optarg);
				break;
			case 'p':
				options.postmaster_kills = atoi(optarg);
				break;
			case 'b':
				options.bindir = optarg;
				break;
			case 'd':
				options.data = optarg;
				break;
			case 'k':
				options.socket_dir = optarg;
				break;
			case 'l':
				options.log = optarg;
				break;
			case 'x':
				options.provider = optarg;
				break;
			case 'f':
				options.fault_points = true;
				break;
			case '1':
				options.stop_at_first = true;
				break;
			case 'v':
				options.verbose = true;
				break;
			default:
				usage();
		}
	}
	if (!options.bindir || !options.data || !options.socket_dir || !options.log ||
		!options.provider || options.payments < 100 || options.clients < 1 ||
		options.clients > MOST_CLIENTS)
		usage();
}

/*
 * Is this a run of the usual size, in which everything must happen often enough?
 */
bool
is_whole_run(void)
{
	return options.payments >= WHOLE_RUN && options.worker_kills > 0;
}

int
main(int argc, char **argv)
{
	double		began = now();
	double		settled;

	read_options(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("seed %llu\n", (unsigned long long) options.seed);
	/* texts that nothing else has in them */
	snprintf(api_key, sizeof(api_key), "Secret%llxKey%llx",
			 (unsigned long long) (options.seed * 2654435761u),
			 (unsigned long long) options.seed ^ 0x5DEECE66DULL);
	snprintf(webhook_secret, sizeof(webhook_secret), "Hook%llxSecret",
			 (unsigned long long) (options.seed + 12345) * 1099511628211u);

	scene_open();
	plan_make();
	scene_dictate();
	clients_start();
	events_make();
	while (!(clients_idle() && events_over()))
	{
		events_turn();
		clients_turn(5);
		if (options.stop_at_first && checks_failed > 0)
			break;
	}
	settled = now();
	if (!(options.stop_at_first && checks_failed > 0))
	{
		if (features.submit)
			scene_fence();
		scene_settle();
		judge_all();
	}
	events_report();
	printf("%.0f s of payments and kills, %.0f s to settle and judge\n",
		   settled - began, now() - settled);
	if (checks_failed > 0)
		printf("FAILED; replay with DIGIPAY_SEED=%llu\n", (unsigned long long) options.seed);
	printf("%d passed, %d failed\n", checks_passed, checks_failed);
	world_end();
	return checks_failed > 0;
}
