/*-------------------------------------------------------------------------
 *
 * state.c
 *	  The tables of src/state.c, all of them, against what README.md promises.
 *
 * The expectations are written down here once more, in another form than the
 * tables': a rule for each line of the contract, so that a slip in one of them
 * shows.  Prints TAP.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "state.h"

static int	tests = 0;
static int	failures = 0;

static void
ok(bool good, const char *what, const char *a, const char *b)
{
	printf("%sok %d - %s: %s, %s\n", good ? "" : "not ", ++tests, what, a, b);
	failures += !good;
}

static const char *const event_names[] = {
	"nothing", "succeeded", "failed", "rejected", "refunded", "pending", "doubtful",
	"not found", "not unique"
};

/* in the order of DpState, then the review that came of a contradiction */
static const char *const rows[] = {
	"queued", "sending", "not_sent", "pending", "unknown", "succeeded", "failed",
	"rejected", "refunded", "cancelled", "review", "review (contradicted)"
};

/*
 * What shall become of each state, by event: ".": nothing, and it is written
 * down; "=": nothing, it agrees; "!": review, a contradiction; else the state.
 */
static const char *const expected[12][9] = {
	{".", "succeeded", "failed", ".", "refunded", "pending", "unknown", ".", "review"},
	{".", ".", ".", ".", ".", ".", ".", ".", "."},
	{".", "!", "!", ".", "!", "!", "!", ".", "!"},
	{".", "succeeded", "failed", "failed", "refunded", "=", ".", ".", "review"},
	{".", "succeeded", "failed", "rejected", "refunded", "pending", ".", ".", "review"},
	{".", "=", "!", "!", "refunded", ".", ".", ".", "."},
	{".", "!", "=", "=", ".", ".", ".", ".", "."},
	{".", "!", "!", "=", "!", "!", ".", ".", "."},
	{".", ".", ".", ".", "=", ".", ".", ".", "."},
	{".", "!", "!", ".", "!", "!", "!", ".", "!"},
	{".", "succeeded", "failed", "failed", "refunded", "pending", ".", ".", "="},
	{".", ".", ".", ".", ".", ".", ".", ".", "."},
};

static void
check_transitions(void)
{
	for (int row = 0; row < 12; row++)
	{
		DpState		from = row == 11 ? DP_REVIEW : (DpState) row;

		for (int event = 0; event < DP_EVENT_COUNT; event++)
		{
			DpState		to;
			DpEffect	effect = dp_transition(from, row == 11, (DpEvent) event, &to);
			const char *got = effect == DP_KEEP ? "=" : effect == DP_NOTE ? "." :
				effect == DP_CONTRADICT ? "!" : dp_state_name(to);

			ok(strcmp(got, expected[row][event]) == 0, "transition", rows[row], event_names[event]);

			/* rules that no table may break, whatever it says */
			if (from == DP_SUCCEEDED && effect == DP_CHANGE)
				ok(to == DP_REFUNDED, "a success only becomes a refund", rows[row], event_names[event]);
			if (from != DP_QUEUED && dp_state_is_final(from) && from != DP_REVIEW &&
				effect == DP_CHANGE)
				ok(from == DP_SUCCEEDED, "a final state stays", rows[row], event_names[event]);
			if (effect == DP_CHANGE)
				ok(to != DP_QUEUED && to != DP_SENDING && to != DP_NOT_SENT && to != DP_CANCELLED,
				   "no event makes it leave again", rows[row], event_names[event]);
			if (event == DP_EVENT_NOTHING || event == DP_EVENT_NOT_FOUND)
				ok(effect == DP_NOTE, "no outcome by itself", rows[row], event_names[event]);
			if (event == DP_EVENT_PENDING && dp_state_is_final(from) && from != DP_REVIEW)
				ok(effect != DP_CHANGE, "a late Pending overwrites nothing", rows[row], "pending");
		}
	}
}

/* Codes by what the contract calls them; each in one list only. */
static const char *const failed[] = {
	"02", "50", "51", "52", "53", "54", "55", "57", "58", "59", "60", "71", "72", "73",
	"84", "85", "86"
};
static const char *const rejected[] = {
	"40", "41", "42", "43", "44", "45", "46", "47", "48", "56", "61", "62", "63", "64",
	"65", "66", "67", "68", "69", "80", "81", "82", "83", "87", "88"
};

/* refused as a question, or about to be: says nothing about the payment */
static const char *const silent[] = {
	"40", "41", "42", "43", "44", "45", "46", "47", "48", "49", "61", "80", "81", "82",
	"83", "85", "88"
};

static bool
is_in(const char *const *list, int count, const char *rc)
{
	for (int i = 0; i < count; i++)
	{
		if (strcmp(list[i], rc) == 0)
			return true;
	}
	return false;
}

#define IN(list, rc) is_in(list, lengthof(list), rc)

static const char *
expected_state(const char *rc)
{
	if (strcmp(rc, "00") == 0)
		return "succeeded";
	if (strcmp(rc, "03") == 0 || strcmp(rc, "99") == 0)
		return "pending";
	if (strcmp(rc, "49") == 0)
		return "review";
	if (strcmp(rc, "74") == 0)
		return "refunded";
	if (IN(failed, rc))
		return "failed";
	if (IN(rejected, rc))
		return "rejected";
	return "unknown";
}

/* The word that belongs to a code. */
static const char *
word_of(const char *rc)
{
	const char *state = expected_state(rc);

	return strcmp(state, "succeeded") == 0 ? "Sukses" :
		strcmp(state, "pending") == 0 ? "Pending" : "Gagal";
}

static DpEvent
expected_event(const char *rc, bool webhook)
{
	const char *state = expected_state(rc);

	if (!webhook && strcmp(rc, "50") == 0)
		return DP_EVENT_NOT_FOUND;
	if (IN(silent, rc) && !(webhook && (strcmp(rc, "49") == 0 || strcmp(rc, "85") == 0)))
		return DP_EVENT_NOTHING;
	for (int event = DP_EVENT_SUCCEEDED; event <= DP_EVENT_PENDING; event++)
	{
		if (strcmp(event_names[event], state) == 0)
			return (DpEvent) event;
	}
	return strcmp(state, "review") == 0 ? DP_EVENT_NOT_UNIQUE : DP_EVENT_DOUBTFUL;
}

/* Is the code one of the documented ones? */
static bool
is_documented(const char *rc)
{
	return strcmp(expected_state(rc), "unknown") != 0 || strcmp(rc, "01") == 0 ||
		strcmp(rc, "70") == 0;
}

/* One of many checks that are reported as one, with where the first one failed. */
static void
note(bool *all, char *where, const char *what, bool good)
{
	if (!good && *all)
		strlcpy(where, what, 64);
	*all = *all && good;
}

/*
 * Every code of two digits, by each kind of reply, word and HTTP status.  The
 * words of both branches are understood whatever the dialect, which is nothing
 * that these tables know of.
 */
static void
check_codes(void)
{
	/* a word, and the Indonesian one that it means; NULL: it is no status word */
	static const char *const words[][2] = {
		{"Sukses", "Sukses"}, {"Gagal", "Gagal"}, {"Pending", "Pending"},
		{"Success", "Sukses"}, {"Failed", "Gagal"}, {"Processing", "Pending"},
		{"sukses", NULL}, {"success", NULL}, {"Successful", NULL}, {"FAILED", NULL},
		{"Process", NULL}, {"processing", NULL}, {"", NULL}, {NULL, NULL}
	};
	static const int statuses[] = {200, 201, 400, 403, 408, 425, 429, 500, 502, 302};

	for (int i = 0; i < 100; i++)
	{
		char		rc[3] = {(char) ('0' + i / 10), (char) ('0' + i % 10), '\0'};
		bool		all[3] = {true, true, true};
		char		where[3][64] = {"every word and HTTP status", "every word and HTTP status",
		"every word and HTTP status"};

		for (int w = 0; w < (int) lengthof(words); w++)
		{
			for (int h = 0; h < (int) lengthof(statuses); h++)
			{
				const char *word = words[w][0];
				const char *means = words[w][1];
				int			http = statuses[h];
				bool		counts = (http / 100 == 2 || http / 100 == 4) &&
					http != 408 && http != 425 && http != 429;
				bool		pends = means != NULL && strcmp(means, "Pending") == 0;
				bool		agrees = counts && means != NULL &&
					(is_documented(rc) ? strcmp(means, word_of(rc)) == 0 : pends) &&
					!(strcmp(means, "Sukses") == 0 && http >= 300);
				const char *state_expected = !agrees ? "unknown" :
					is_documented(rc) ? expected_state(rc) : "pending";
				DpState		state;
				DpEvent		event;
				const char *reason;
				bool		trusted;
				char		what[64];

				snprintf(what, sizeof(what), "%s, HTTP %d", word ? word : "no word", http);
				trusted = dp_conclude_pay(rc, word, http, &state, &reason);
				note(&all[2], where[2], what,
					 trusted == agrees && strcmp(dp_state_name(state), state_expected) == 0 &&
					 (state != DP_UNKNOWN || reason != NULL));
				for (int webhook = 0; webhook < 2; webhook++)
				{
					DpEvent		wanted = agrees ?
						is_documented(rc) ? expected_event(rc, webhook) : DP_EVENT_PENDING :
						counts && means != NULL ?
						DP_EVENT_DOUBTFUL : DP_EVENT_NOTHING;

					trusted = dp_conclude_event(rc, word, NULL, http, webhook, &event, &reason);
					note(&all[webhook], where[webhook], what, trusted == agrees && event == wanted);
				}
			}
		}
		ok(all[2], "payment", rc, where[2]);
		ok(all[0], "status", rc, where[0]);
		ok(all[1], "call-back", rc, where[1]);
	}
}

static void
check_the_rest(void)
{
	DpState		state;
	DpEvent		event;
	const char *reason;

	ok(!dp_conclude_pay(NULL, "Sukses", 200, &state, &reason) && state == DP_UNKNOWN,
	   "payment", "no rc", "Sukses");
	ok(!dp_conclude_pay("", "Sukses", 200, &state, &reason) && state == DP_UNKNOWN,
	   "payment", "empty rc", "Sukses");
	ok(!dp_conclude_pay("0", "Sukses", 200, &state, &reason) && state == DP_UNKNOWN,
	   "payment", "rc 0", "Sukses");
	ok(!dp_conclude_event(NULL, "Sukses", NULL, 200, false, &event, &reason) &&
	   event == DP_EVENT_NOTHING, "status", "no rc", "Sukses");
	ok(dp_conclude_event("02", "Gagal", "Data belum ada", 200, false, &event, &reason) &&
	   event == DP_EVENT_NOT_FOUND, "status", "02", "Data belum ada");
	ok(dp_conclude_event("02", "Gagal", "Data belum ada", 200, true, &event, &reason) &&
	   event == DP_EVENT_FAILED, "call-back", "02", "Data belum ada");
	ok(dp_limit_reached("85", 200) && dp_limit_reached(NULL, 429) &&
	   !dp_limit_reached("86", 200) && !dp_limit_reached(NULL, 500), "limit", "85", "429");
	for (int i = 0; i <= DP_REVIEW; i++)
	{
		ok(dp_state_from_name(dp_state_name((DpState) i), &state) && (int) state == i,
		   "name", rows[i], "and back");
		ok(dp_state_may_leave((DpState) i) == (i == DP_QUEUED || i == DP_NOT_SENT),
		   "may leave", rows[i], "by digipay_pay");
		ok(dp_state_may_be_retried((DpState) i) ==
		   (i == DP_NOT_SENT || i == DP_REJECTED || i == DP_CANCELLED),
		   "may leave", rows[i], "by digipay_retry");
		ok(dp_state_is_asked_about((DpState) i) == (i == DP_PENDING || i == DP_UNKNOWN),
		   "is asked about", rows[i], "");
		ok(dp_state_is_final((DpState) i) ==
		   !(i == DP_QUEUED || i == DP_SENDING || i == DP_PENDING || i == DP_UNKNOWN),
		   "is final", rows[i], "");
	}
}

/* What a call about the account may conclude, with and without consequences. */
static void
check_account(void)
{
	static const struct
	{
		const char *rc;
		const char *wrong;
		int			http_status;
		int			harmless;	/* a DpState, or -1: not to be believed */
		int			consequential;
	}			cases[] = {
		{NULL, NULL, 200, DP_SUCCEEDED, -1}, {"00", NULL, 200, DP_SUCCEEDED, DP_SUCCEEDED},
		{"00", NULL, 299, DP_SUCCEEDED, DP_SUCCEEDED}, {"00", NULL, 199, -1, -1},
		{"00", NULL, 300, -1, -1}, {"00", NULL, 400, -1, -1}, {NULL, NULL, 500, -1, -1},
		{"00", "x", 200, -1, -1}, {NULL, "x", 200, -1, -1}, {"", NULL, 200, DP_REJECTED, -1},
		{"41", "x", 400, DP_REJECTED, DP_REJECTED}, {"41", NULL, 200, DP_REJECTED, DP_REJECTED},
		{"41", "x", 503, DP_REJECTED, -1}, {"85", "x", 429, DP_REJECTED, -1},
		{"83", "x", 400, DP_REJECTED, DP_REJECTED}, {"02", "x", 200, DP_REJECTED, DP_REJECTED},
		{"01", "x", 200, DP_REJECTED, -1}, {"70", "x", 200, DP_REJECTED, -1},
		{"03", "x", 200, DP_REJECTED, -1}, {"99", "x", 200, DP_REJECTED, -1},
		{"49", "x", 200, DP_REJECTED, -1}, {"74", "x", 200, DP_REJECTED, -1},
		{"0", "x", 200, DP_REJECTED, -1}, {"XX", "x", 200, DP_REJECTED, -1},
	};
	const char *reason;
	DpState		state;

	for (int i = 0; i < (int) lengthof(cases); i++)
	{
		for (int consequential = 0; consequential <= 1; consequential++)
		{
			int			wanted = consequential ? cases[i].consequential : cases[i].harmless;
			bool		good;

			state = DP_UNKNOWN;
			good = dp_conclude_account(cases[i].rc, cases[i].wrong, cases[i].http_status,
									   consequential, &state, &reason);
			ok(good == (wanted >= 0) && good == (reason == NULL) &&
			   (int) state == (good ? wanted : DP_UNKNOWN),
			   consequential ? "deposit" : "question", cases[i].rc ? cases[i].rc : "no rc",
			   cases[i].wrong ? "nothing" : "something");
		}
	}
}

int
main(void)
{
	check_account();
	check_transitions();
	check_codes();
	check_the_rest();
	printf("1..%d\n", tests);
	return failures != 0;
}
