/*
 * plan.c
 *		Who pays what, how, and what becomes of it: all of it from the seed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define PLN_GOOD		"530000000001"
#define PLN_NO_BILL		"530000000003"
#define PLN_BAD			"530000000006"
#define PLN_LATER_GOOD	"630000000001"
#define PLN_LATER_BAD	"630000000006"

/* For the fence: submitted while the server is paused, and tried at the copy */
#define FENCE_QUEUED	40
#define FENCE_PROBES	6

#define REPLY(ref, customer, code, status, rc) \
	"{\"data\":{\"ref_id\":\"" ref "\",\"customer_no\":\"" customer "\",\"$CODE\":\"" code \
	"\",\"$NAME\":\"BUDI\",\"admin\":2500,\"message\":\"dictated\",\"status\":\"" status \
	"\",\"rc\":\"" rc "\",\"sn\":\"S1\",\"$BALANCE\":90000,\"price\":10000," \
	"\"selling_price\":12500,\"desc\":{\"tarif\":\"R1\"}}}"
#define SAYS(status, rc)	REPLY("$ref", "$customer", "$code", status, rc)

const char	success_body[] = SAYS("Sukses", "00");

/*
 * The fates.  The first one takes what the others leave.  Where a fault breaks
 * the answer of a payment that is not booked, only a person can say in the end;
 * where the code is unknown, the questions are refused as well.
 */
const Fate fates[] = {
	{"paid", 0, "plain", "p-", PLN_GOOD, "pln", 0, true, NULL, "review", NULL},
	{"paid, kept connection", 800, "raw", "k-", PLN_GOOD, "pln", 0, true, NULL, "review", NULL},
	{"paid, watched", 900, "watched", "w-", PLN_GOOD, "pln", 0, true, NULL, "review", NULL},
	{"pending, then paid", 150, "plain", "pp-", PLN_LATER_GOOD, "pln", 0, true, NULL, "review", NULL},
	{"pending, then failed", 100, "plain", "pf-", PLN_LATER_BAD, "pln", 0, false, NULL, "failed review", NULL},
	{"failed (02)", 100, "plain", "f-", PLN_BAD, "pln", 0, false, NULL, "failed review", NULL},
	{"failed (60)", 60, "plain", "n-", PLN_NO_BILL, "pln", 0, false, NULL, "failed review", NULL},
	{"refused (43)", 60, "plain", "u-", PLN_GOOD, "nosuch", 0, false, NULL, "rejected review unknown", NULL},

	/* broken by the network */
	{"reset", 30, "raw", "reset-", PLN_GOOD, "pln", 0, true, NULL, "review", NULL},
	{"reset, not booked", 30, "raw", "reset-nobook-", PLN_GOOD, "pln", 0, false, NULL, "review", NULL},
	{"close", 30, "raw", "close-", PLN_GOOD, "pln", 0, true, NULL, "review", NULL},
	{"close, not booked", 30, "raw", "close-nobook-", PLN_GOOD, "pln", 0, false, NULL, "review", NULL},
	{"half", 30, "raw", "half-", PLN_GOOD, "pln", 0, true, NULL, "review", NULL},
	{"half, not booked", 30, "raw", "half-nobook-", PLN_GOOD, "pln", 0, false, NULL, "review", NULL},
	{"hang", 30, "raw", "hang-", PLN_GOOD, "pln", 0, true, NULL, "review", NULL},
	{"hang, not booked", 30, "raw", "hang-nobook-", PLN_GOOD, "pln", 0, false, NULL, "review", NULL},
	{"headers only", 30, "raw", "hdr-", PLN_GOOD, "pln", 0, true, NULL, "review", NULL},
	{"headers only, not booked", 30, "raw", "hdr-nobook-", PLN_GOOD, "pln", 0, false, NULL, "review", NULL},
	{"kept connection dies", 60, "raw", "dead-", PLN_GOOD, "pln", 0, true, NULL, "review", NULL},
	{"kept connection dies, not booked", 30, "raw", "dead-nobook-", PLN_GOOD, "pln", 0, false, NULL, "review", NULL},
	{"question reset", 33, "raw", "status-reset-", PLN_LATER_GOOD, "pln", 0, true, NULL, "review", NULL},
	{"question hangs", 33, "raw", "status-hang-", PLN_LATER_GOOD, "pln", 0, true, NULL, "review", NULL},
	{"question half answered", 33, "raw", "status-half-", PLN_LATER_BAD, "pln", 0, false, NULL, "failed review", NULL},

	/* dictated: refusals, contradictions, echoes of something else */
	{"refused (40)", 33, "plain", "r40-", PLN_GOOD, "pln", 400, false, SAYS("Gagal", "40"), "rejected review", NULL},
	{"refused (41)", 33, "plain", "r41-", PLN_GOOD, "pln", 400, false, SAYS("Gagal", "41"), "rejected review", NULL},
	{"refused (44)", 33, "plain", "r44-", PLN_GOOD, "pln", 200, false, SAYS("Gagal", "44"), "rejected review", NULL},
	{"refused (45), paid when retried", 40, "plain", "again-", PLN_GOOD, "pln", 403, false, SAYS("Gagal", "45"), "rejected review", NULL},
	{"not unique (49)", 33, "plain", "r49-", PLN_GOOD, "pln", 200, false, SAYS("Gagal", "49"), "review", NULL},
	{"timeout (01), booked", 33, "plain", "t1-", PLN_GOOD, "pln", 200, true, SAYS("Gagal", "01"), "review", NULL},
	{"timeout (70), not booked", 33, "plain", "t70-", PLN_GOOD, "pln", 200, false, SAYS("Gagal", "70"), "review", NULL},
	{"00 and Gagal, booked", 33, "plain", "c1-", PLN_GOOD, "pln", 200, true, SAYS("Gagal", "00"), "review", NULL},
	{"00 and Gagal, not booked", 33, "plain", "c2-", PLN_GOOD, "pln", 200, false, SAYS("Gagal", "00"), "review", NULL},
	{"02 and Sukses, booked", 33, "plain", "c3-", PLN_GOOD, "pln", 200, true, SAYS("Sukses", "02"), "review", NULL},
	{"02 and Sukses, not booked", 33, "plain", "c4-", PLN_GOOD, "pln", 200, false, SAYS("Sukses", "02"), "review", NULL},
	{"wrong rc", 33, "plain", "rc-", PLN_GOOD, "pln", 200, false, SAYS("Sukses", "A7"), "review", NULL},
	{"other ref_id echoed", 33, "plain", "e1-", PLN_GOOD, "pln", 200, false,
	REPLY("other", "$customer", "$code", "Sukses", "00"), "review", NULL},
	{"other customer_no echoed", 33, "plain", "e2-", PLN_GOOD, "pln", 200, false,
	REPLY("$ref", "530000000002", "$code", "Sukses", "00"), "review", NULL},
	{"other code echoed, booked", 33, "plain", "e3-", PLN_GOOD, "pln", 200, true,
	REPLY("$ref", "$customer", "pdam", "Sukses", "00"), "review", NULL},
	{"HTTP 500, booked", 33, "plain", "h1-", PLN_GOOD, "pln", 500, true, "<h1>Error</h1>", "review", NULL},
	{"HTTP 500, not booked", 33, "plain", "h2-", PLN_GOOD, "pln", 500, false, "<h1>Error</h1>", "review", NULL},
	{"HTTP 502, booked", 33, "plain", "h3-", PLN_GOOD, "pln", 502, true, "", "review", NULL},
	{"two documents, not booked", 33, "plain", "j1-", PLN_GOOD, "pln", 200, false,
	SAYS("Sukses", "00") "{}", "review", NULL},
	{"rc ends at NUL, not booked", 33, "plain", "j2-", PLN_GOOD, "pln", 200, false,
	SAYS("Sukses", "00\\u0000x"), "review", NULL},

	/* all at once, while the network is so */
	{"accept, then reset", 28, "raw", "a1-", PLN_GOOD, "pln", 0, true, NULL, "review", "reset"},
	{"accept, then close", 28, "raw", "a2-", PLN_GOOD, "pln", 0, true, NULL, "review", "close"},
	{"accept, then nothing", 28, "raw", "a3-", PLN_GOOD, "pln", 0, true, NULL, "review", "hang"},
	{"connection refused", 28, "raw", "a4-", PLN_GOOD, "pln", 0, true, NULL, "review", "refuse"},
	{"provider stopped", 28, "plain", "a5-", PLN_GOOD, "pln", 0, true, NULL, "review", "freeze"},
};
const int	fate_count = sizeof(fates) / sizeof(fates[0]);

/* The ways.  The first one is also that of what has no other. */
const Way	ways[] = {
	{"pay", 40, 0, false, NO_MISCHIEF, {PAY}},
	{"pay, ROLLBACK", 5, 0, false, NO_MISCHIEF, {BEGIN, PAY, ROLLBACK}},
	{"pay, COMMIT", 3, 0, false, NO_MISCHIEF, {BEGIN, PAY, COMMIT}},
	{"pay, ROLLBACK TO", 3, 0, false, NO_MISCHIEF, {BEGIN, SAVEPOINT, PAY, ROLLBACK_TO, COMMIT}},
	{"pay, error in the statement", 3, 0, false, NO_MISCHIEF, {PAY_AND_FAIL}},
	{"pay twice, one after the other", 3, 0, false, NO_MISCHIEF, {PAY, PAY}},
	{"pay, two clients at once", 6, 0, true, NO_MISCHIEF, {PAY}},
	{"pay, cancelled", 4, 0, false, CANCELLED, {PAY}},
	{"pay, statement_timeout", 3, 0, false, NO_MISCHIEF, {SHORT_TIME, PAY, LONG_TIME}},
	{"pay, connection dropped", 4, 0, false, DROPPED, {PAY}},
	{"pay, session terminated", 2, 0, false, TERMINATED, {PAY}},
	{"inquire, pay with max_price", 3, 0, false, NO_MISCHIEF, {INQUIRE, PAY_MAX}},
	{"pay, then for another bill", 2, 0, false, NO_MISCHIEF, {PAY, PAY_OTHER}},
	{"submit", 6, 0, false, NO_MISCHIEF, {SUBMIT}},
	{"submit, COMMIT", 6, 0, false, NO_MISCHIEF, {BEGIN, SUBMIT, COMMIT}},
	{"submit, ROLLBACK", 3, 0, false, NO_MISCHIEF, {BEGIN, SUBMIT, ROLLBACK}},
	{"submit, ROLLBACK TO", 2, 0, false, NO_MISCHIEF, {BEGIN, SAVEPOINT, SUBMIT, ROLLBACK_TO, COMMIT}},
	{"submit, COMMIT PREPARED", 2, 0, false, NO_MISCHIEF, {BEGIN, SUBMIT, PREPARE, COMMIT_PREPARED}},
	{"submit, ROLLBACK PREPARED", 2, 0, false, NO_MISCHIEF, {BEGIN, SUBMIT, PREPARE, ROLLBACK_PREPARED}},
	{"submit, connection dropped", 2, 0, false, DROPPED, {BEGIN, SUBMIT, COMMIT}},
	{"submit, wait", 4, 0, false, NO_MISCHIEF, {SUBMIT, WAIT}},
	{"submit, pay", 3, 0, false, NO_MISCHIEF, {SUBMIT, PAY}},
	{"submit, two clients at once", 2, 0, true, NO_MISCHIEF, {SUBMIT}},
	{"submit, cancel", 4, 0, false, NO_MISCHIEF, {SUBMIT, CANCEL}},
	{"submit and pay in one transaction", 1, 0, false, NO_MISCHIEF, {BEGIN, SUBMIT, PAY, ROLLBACK}},
	{"submit 10 in one statement", 1, 10, false, NO_MISCHIEF, {SUBMIT}},
	{"submit 10, ROLLBACK", 1, 10, false, NO_MISCHIEF, {BEGIN, SUBMIT, ROLLBACK}},
	{"submit 10, wait_all", 1, 10, false, NO_MISCHIEF, {SUBMIT, WAIT_ALL}},
	{"submit 10 by a trigger", 1, 10, false, NO_MISCHIEF, {ORDER}},
};
const int	way_count = sizeof(ways) / sizeof(ways[0]);

Payment    *payments;
int			payment_count;
int			fence_first;

static uint64_t random_state;

/*
 * The next 64 random bits (splitmix64).
 */
uint64_t
random_bits(void)
{
	uint64_t	z = (random_state += 0x9E3779B97F4A7C15ULL);

	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
	return z ^ (z >> 31);
}

/*
 * A random number from 0 to limit - 1.
 */
int
random_below(int limit)
{
	return (int) (random_bits() % (uint64_t) limit);
}

/*
 * Can digipay, as it is installed, do all the steps of this way?
 */
static bool
can_be_done(const Way *way)
{
	int			i;

	for (i = 0; i < MOST_STEPS && way->steps[i] != END; i++)
	{
		switch (way->steps[i])
		{
			case SUBMIT:
			case ORDER:
				if (!features.submit)
					return false;
				break;
			case WAIT:
			case WAIT_ALL:
				if (!features.wait)
					return false;
				break;
			case CANCEL:
				if (!features.cancel)
					return false;
				break;
			default:
				break;
		}
	}
	return true;
}

/*
 * Does this way mean the payment to be paid?
 */
static bool
is_to_be_paid(const Way *way)
{
	bool		pays = false;
	bool		submits = false;
	int			i;

	for (i = 0; i < MOST_STEPS && way->steps[i] != END; i++)
	{
		Step		step = way->steps[i];

		if (step == PAY || step == PAY_AND_FAIL || step == PAY_MAX)
			pays = true;
		else if (step == SUBMIT || step == ORDER)
			submits = true;
		else if (step == ROLLBACK || step == ROLLBACK_TO || step == ROLLBACK_PREPARED ||
				 step == CANCEL)
			submits = false;
	}
	return pays || submits;
}

/*
 * A way by chance and weight; one for several payments takes a single turn
 * among the others, whatever its weight.
 */
static const Way *
choose_way(void)
{
	int			total = 0;
	int			ticket;
	int			i;

	for (i = 0; i < way_count; i++)
		total += can_be_done(&ways[i]) ? ways[i].weight : 0;
	ticket = random_below(total);
	for (i = 0; i < way_count; i++)
	{
		ticket -= can_be_done(&ways[i]) ? ways[i].weight : 0;
		if (ticket < 0)
			break;
	}
	return &ways[i];
}

/*
 * The server of that name, or its twin that speaks the other dialect.  Both
 * have one account, at one double.
 */
const char *
server_in(const char *server, bool digiflazz)
{
	static const char *const twins[][2] = {
		{"plain", "plain_df"}, {"raw", "raw_df"}, {"watched", "watched_df"},
	};

	for (size_t i = 0; digiflazz && i < sizeof(twins) / sizeof(twins[0]); i++)
	{
		if (strcmp(twins[i][0], server) == 0)
			return twins[i][1];
	}
	return server;
}

/*
 * Fill a payment in.  Every other one is made in each dialect, by chance, but
 * for those of the fence.
 */
static void
set_payment(int number, const Fate *fate, const Way *way)
{
	Payment    *payment = &payments[number];

	payment->number = number;
	payment->fate = fate;
	payment->way = way;
	payment->code = fate->code;
	payment->customer_no = fate->customer_no;
	payment->dice = (uint32_t) random_bits();
	payment->digiflazz = number < fence_first && (payment->dice >> 16) % 2 == 1;
	payment->server = server_in(fate->server, payment->digiflazz);
	snprintf(payment->ref_id, sizeof(payment->ref_id), "%ss%llx-%d", fate->prefix,
			 (unsigned long long) options.seed, number);
}

/*
 * Deal the fates out: how many of each, shuffled, those of a window together.
 */
static const Fate **
deal_fates(int count)
{
	const Fate **dealt = calloc((size_t) count, sizeof(Fate *));
	int			used = 0;
	int			i;
	int			j;

	for (i = 1; i < fate_count; i++)
	{
		int			share = (int) ((long long) fates[i].share * count / 10000);

		if (fates[i].window)
			continue;
		for (j = 0; j < share && used < count; j++)
			dealt[used++] = &fates[i];
	}
	while (used < count)
		dealt[used++] = &fates[0];
	for (i = count - 1; i > 0; i--)
	{
		const Fate *other;

		j = random_below(i + 1);
		other = dealt[j];
		dealt[j] = dealt[i];
		dealt[i] = other;
	}
	return dealt;
}

/*
 * Put the windows' payments in, a quarter of a fate's share at a time, over
 * some that the deal had put there; never in the first hundred.
 */
static void
place_windows(const Fate **dealt, int count)
{
	int			windows = 0;
	int			placed = 0;
	int			i;
	int			part;

	for (i = 0; i < fate_count; i++)
		windows += fates[i].window != NULL;
	for (part = 0; part < 4; part++)
	{
		for (i = 0; i < fate_count; i++)
		{
			int			size = fates[i].share / 4;
			int			start = 100 + (count - 200) / (4 * windows) * placed;
			int			j;

			if (!fates[i].window)
				continue;
			placed++;
			for (j = start; j < start + size && j < count; j++)
			{
				/* what lay here must not be lost: it takes a plain one's place */
				const Fate *there = dealt[j];

				dealt[j] = &fates[i];
				while (there != &fates[0])
				{
					int			k = random_below(count);

					if (dealt[k] == &fates[0] && (k < start || k >= start + size))
					{
						dealt[k] = there;
						break;
					}
				}
			}
		}
	}
}

/*
 * Make the plan.  What comes after the asked-for number is the fence's.
 */
void
plan_make(void)
{
	int			count = options.payments;
	const Fate **dealt;
	int			i;

	random_state = options.seed;
	dealt = deal_fates(count);
	if (count >= 2000)
		place_windows(dealt, count);
	fence_first = count;
	payment_count = count + (features.submit ? FENCE_QUEUED : 0) + FENCE_PROBES;
	payments = calloc((size_t) payment_count, sizeof(Payment));
	for (i = 0; i < count;)
	{
		const Way  *way = choose_way();
		int			group = way->group ? way->group : 1;
		int			j;

		/* a rare fate must be met, and those of a window all at once */
		if (dealt[i]->window || (dealt[i]->share > 0 && dealt[i]->share <= 60 && !is_to_be_paid(way)))
		{
			way = &ways[0];
			group = 1;
		}
		for (j = i + 1; j < i + group && j < count; j++)
		{
			if (dealt[j]->window || !is_to_be_paid(way))
				if (dealt[j]->share > 0 && dealt[j]->share <= 60)
					group = j - i;
		}
		for (; group > 0 && i < count; group--, i++)
			set_payment(i, dealt[i], way);
	}
	for (; i < payment_count; i++)
		set_payment(i, &fates[0], &ways[0]);
	free(dealt);
}

/*
 * The payment that has this ref_id, or NULL.
 */
Payment *
payment_of_ref(const char *ref_id)
{
	const char *dash = strrchr(ref_id, '-');
	int			number = dash ? atoi(dash + 1) : -1;

	if (number < 0 || number >= payment_count ||
		strcmp(payments[number].ref_id, ref_id) != 0)
		return NULL;
	return &payments[number];
}

/*
 * A dictated reply with the payment's own values in it, in its dialect.
 */
char *
dictated_body(const Payment *payment, const char *body)
{
	static const char *const keys[2][3] = {
		{"code", "name", "balance"}, {"buyer_sku_code", "customer_name", "buyer_last_saldo"},
	};
	const char *const *key = keys[payment->digiflazz];
	const char *names[] = {"$ref", "$customer", "$code", "$CODE", "$NAME", "$BALANCE"};
	const char *values[] = {payment->ref_id, payment->customer_no, payment->code, key[0], key[1], key[2]};
	char	   *result = calloc(1, strlen(body) + 512);
	size_t		length = 0;

	while (*body)
	{
		int			i;

		for (i = 0; i < 6 && strncmp(body, names[i], strlen(names[i])) != 0; i++)
			;
		if (i < 6)
		{
			strcpy(result + length, values[i]);
			length += strlen(values[i]);
			body += strlen(names[i]);
		}
		else
			result[length++] = *body++;
	}
	return result;
}
