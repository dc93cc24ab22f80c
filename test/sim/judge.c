/*
 * judge.c
 *		Was anything paid twice, lost, or told wrongly?  By the double's books.
 *
 * An invariant is named by a sentence.  It counts as passed when it was looked
 * at and never broken.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "sim.h"

#define MOST_INVARIANTS	40
#define MOST_ERRORS		60
#define MOST_SHOWN		5		/* violations of one invariant */
#define ENOUGH			20		/* times that each fault must have happened */
#define ENOUGH_PAID		10000	/* payments that must have arrived, in a run of the usual size */

typedef struct Invariant
{
	const char *name;
	int			violations;
} Invariant;

static Invariant invariants[MOST_INVARIANTS];
static int	invariant_count;

static struct
{
	char		sqlstate[6];
	int			count;
}			errors[MOST_ERRORS];

int			checks_passed;
int			checks_failed;

static int	strangers;			/* ref_ids in the books that nobody asked for */

/* --------------------------------------------------------------- counting */

static Invariant *
find_invariant(const char *name)
{
	int			i;

	for (i = 0; i < invariant_count; i++)
	{
		if (strcmp(invariants[i].name, name) == 0)
			return &invariants[i];
	}
	if (invariant_count == MOST_INVARIANTS)
		die("too many invariants");
	checks_passed++;
	invariants[invariant_count].name = name;
	return &invariants[invariant_count++];
}

/*
 * An invariant is being looked at.
 */
void
check(const char *invariant)
{
	find_invariant(invariant);
}

/*
 * An invariant is broken.
 */
void
violation(const char *invariant, const char *format,...)
{
	Invariant  *found = find_invariant(invariant);
	va_list		arguments;

	if (found->violations++ == 0)
	{
		checks_passed--;
		checks_failed++;
	}
	if (found->violations > MOST_SHOWN)
		return;
	printf("BROKEN after %d payments: %s: ", cursor, invariant);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
}

/*
 * A client was told this error.
 */
void
note_error(const char *sqlstate)
{
	int			i;

	for (i = 0; i < MOST_ERRORS && errors[i].count > 0; i++)
	{
		if (strcmp(errors[i].sqlstate, sqlstate) == 0)
			break;
	}
	if (i == MOST_ERRORS)
		return;
	snprintf(errors[i].sqlstate, sizeof(errors[i].sqlstate), "%s", sqlstate);
	errors[i].count++;
}

/* ------------------------------------------------- the books, the journal */

static int
number_of(const cJSON *object, const char *name)
{
	const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, name);

	return member ? (int) member->valuedouble : 0;
}

static bool
names(const cJSON *object, const char *name, const char *wanted)
{
	const char *value = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));

	return value && strcmp(value, wanted) == 0;
}

/*
 * Add a double's books to the payments; what the witness has to complain about
 * is a violation, unless it could not look.
 */
static void
read_books_of(const Double *which, bool complaints)
{
	char	   *json = double_call(which, "GET", "/books", NULL);
	cJSON	   *books = cJSON_Parse(json);
	const cJSON *ref;

	if (books == NULL)
		die("the books cannot be read: %.200s", json);
	free(json);
	cJSON_ArrayForEach(ref, cJSON_GetObjectItemCaseSensitive(books, "refs"))
	{
		Payment    *payment = payment_of_ref(ref->string);

		if (payment == NULL)
		{
			strangers++;
			continue;
		}
		payment->pay_requests += number_of(ref, "pay_requests");
		payment->status_requests += number_of(ref, "status_requests");
		payment->booked += number_of(ref, "booked");
		payment->booked_price = cJSON_GetObjectItemCaseSensitive(ref, "price")->valuedouble;
		payment->other_bill = !names(ref, "customer_no", payment->customer_no) ||
			!names(ref, "code", payment->code);
	}
	if (complaints)
	{
		cJSON_ArrayForEach(ref, cJSON_GetObjectItemCaseSensitive(books, "complaints"))
		{
			/* a worker's successor may have been quicker than the witness */
			if (strstr(ref->valuestring, "could not be read") == NULL &&
				strstr(ref->valuestring, "the journal says unknown") == NULL)
				violation("a request's intent is committed before it", "%s", ref->valuestring);
		}
		check("a request's intent is committed before it");
	}
	cJSON_Delete(books);
}

static void
read_books(bool complaints)
{
	int			i;

	for (i = 0; i < payment_count; i++)
	{
		payments[i].pay_requests = payments[i].status_requests = payments[i].booked = 0;
		payments[i].other_bill = false;
	}
	strangers = 0;
	read_books_of(&main_double, complaints);
	read_books_of(&watching_double, complaints);
}

/*
 * Read the journal; false when the server cannot be reached.
 */
static bool
read_journal(void)
{
	PGconn	   *conn = monitor();
	PGresult   *result = conn ? PQexec(conn, "SELECT ref_id, state, price, error FROM digipay_payment") : NULL;
	int			i;

	if (result == NULL || PQresultStatus(result) != PGRES_TUPLES_OK)
	{
		PQclear(result);
		return false;
	}
	for (i = 0; i < payment_count; i++)
		payments[i].state[0] = payments[i].error[0] = '\0';
	for (i = 0; i < PQntuples(result); i++)
	{
		Payment    *payment = payment_of_ref(PQgetvalue(result, i, 0));

		if (payment == NULL)
		{
			violation("the journal has what was asked for", "it has %s", PQgetvalue(result, i, 0));
			continue;
		}
		snprintf(payment->state, sizeof(payment->state), "%s", PQgetvalue(result, i, 1));
		payment->has_price = !PQgetisnull(result, i, 2);
		snprintf(payment->error, sizeof(payment->error), "%s", PQgetvalue(result, i, 3));
		payment->price = payment->has_price ? atof(PQgetvalue(result, i, 2)) : 0;
	}
	PQclear(result);
	return true;
}

static bool
is_state(const Payment *payment, const char *state)
{
	return strcmp(payment->state, state) == 0;
}

/*
 * Is the payment's state one of these words?
 */
static bool
is_one_of(const Payment *payment, const char *words)
{
	size_t		length = strlen(payment->state);
	const char *place;

	for (place = words; length > 0 && (place = strstr(place, payment->state)) != NULL; place++)
	{
		if ((place == words || place[-1] == ' ') && (place[length] == '\0' || place[length] == ' '))
			return true;
	}
	return false;
}

/*
 * Count rows that have the key in them, or the payment's signature.  The query
 * has the key only backwards, as it is in pg_stat_activity itself.
 */
static void
look_for_secret(const char *what, const char *from, const char *row, bool signatures)
{
	static const char *const invariant = "the key is nowhere";
	char		backwards[sizeof(api_key)];
	size_t		length = strlen(api_key);
	size_t		i;
	char	   *sql;
	char	   *count;

	for (i = 0; i < length; i++)
		backwards[i] = api_key[length - 1 - i];
	backwards[length] = '\0';
	sql = text("SELECT count(*) FROM %s WHERE strpos(%s, reverse('%s')) > 0%s%s%s", from, row,
			   backwards,
			   signatures ? " OR strpos(" : "", signatures ? row : "",
			   signatures ? ", md5(split_part(account, '@', 1) || reverse('" : "");
	if (signatures)
	{
		char	   *longer = text("%s%s') || ref_id)) > 0", sql, backwards);

		free(sql);
		sql = longer;
	}
	count = monitor_value(sql);
	check(invariant);
	/* in the middle of a run the server may be away */
	if (count ? strcmp(count, "0") != 0 : monitor() != NULL)
		violation(invariant, "%s: %s", what, count ? count : "could not be read");
	free(count);
	free(sql);
}

/* ---------------------------------------------------------- the invariants */

/*
 * What must be true at any moment.  The journal is read before the books for
 * what it says, and after them for what it must have.
 */
void
judge_so_far(void)
{
	char	   *said;
	int			i;

	check("booked at most once");
	check("succeeded means booked");
	check("every request has a row");
	if (!read_journal())
		return;
	said = calloc((size_t) payment_count, 1);
	for (i = 0; i < payment_count; i++)
		said[i] = is_state(&payments[i], "succeeded");
	read_books(false);
	for (i = 0; i < payment_count; i++)
	{
		if (payments[i].booked > 1)
			violation("booked at most once", "%s: %d times (%s; %s)", payments[i].ref_id,
					  payments[i].booked, payments[i].fate->name, payments[i].way->name);
		if (said[i] && payments[i].booked == 0)
			violation("succeeded means booked", "%s (%s; %s)", payments[i].ref_id,
					  payments[i].fate->name, payments[i].way->name);
	}
	free(said);
	look_for_secret("pg_stat_activity", "pg_stat_activity a", "a::text", false);
	if (!read_journal())
		return;
	for (i = 0; i < payment_count; i++)
	{
		if (payments[i].pay_requests > 0 && payments[i].state[0] == '\0')
			violation("every request has a row", "%s (%s; %s)", payments[i].ref_id,
					  payments[i].fate->name, payments[i].way->name);
	}
}

/*
 * One payment, when all is over.
 */
static void
judge_payment(const Payment *payment)
{
	const char *ref_id = payment->ref_id;
	const char *fate = payment->fate->name;
	const char *way = payment->way->name;
	char		state[160];

	snprintf(state, sizeof(state), "%s%s%s", payment->state[0] ? payment->state : "not in the journal",
			 payment->error[0] ? ": " : "", payment->error);

	if (payment->booked > 1)
		violation("booked at most once", "%s: %d times (%s; %s)", ref_id, payment->booked, fate, way);
	if (payment->pay_requests + payment->status_requests > 0 && !payment->state[0])
		violation("every request has a row", "%s (%s; %s)", ref_id, fate, way);
	if (payment->booked > 0 && is_one_of(payment, "not_sent rejected cancelled failed"))
		violation("nothing booked is called unpaid", "%s is %s (%s; %s)", ref_id, state, fate, way);
	if (payment->booked == 0 && (is_state(payment, "succeeded") || payment->seen_succeeded))
		violation("succeeded means booked", "%s is %s (%s; %s)", ref_id, state, fate, way);
	if (payment->seen_succeeded && !is_one_of(payment, "succeeded review refunded"))
		violation("an outcome stays", "%s was told to have succeeded and is %s (%s; %s)", ref_id,
				  state, fate, way);
	if (payment->seen_failed && !is_one_of(payment, "failed review refunded"))
		violation("an outcome stays", "%s was told to have failed and is %s (%s; %s)", ref_id,
				  state, fate, way);
	if (payment->pay_requests > payment->may_have_sent)
		violation("an error means that nothing was sent",
				  "%s: %d requests for %d calls without an error (%s; %s; %s)", ref_id,
				  payment->pay_requests, payment->may_have_sent, state, fate, way);
	if (payment->pay_requests > 1 + payment->retries)
		violation("sent again by digipay_retry only", "%s: %d requests, %d retries (%s; %s; %s)",
				  ref_id, payment->pay_requests, payment->retries, state, fate, way);
	if (is_state(payment, "cancelled") && payment->pay_requests > payment->retries)
		violation("cancelled means not sent", "%s (%s; %s)", ref_id, fate, way);
	if (payment->promised && !payment->state[0])
		violation("what was promised is there", "%s (%s; %s)", ref_id, fate, way);
	if (payment->may_have_sent == 0 && is_one_of(payment, "queued succeeded pending failed rejected unknown"))
		violation("a rollback leaves nothing", "%s is %s (%s; %s)", ref_id, state, fate, way);
	if (payment->other_bill && payment->pay_requests > 0)
		violation("what was asked for is paid", "%s was paid for another bill", ref_id);
	if (payment->booked == 1 && is_state(payment, "succeeded") && !payment->fate->body &&
		(!payment->has_price || payment->price != payment->booked_price))
		violation("the price is the provider's", "%s: %g, not %g", ref_id, payment->price,
				  payment->booked_price);
	if (!features.status)
		return;

	/* when the questions are answered, the journal agrees with the books */
	if (payment->booked > 0 &&
		!is_one_of(payment, payment->fate->customer_no && strcmp(payment->fate->prefix, "r49-") == 0 ?
				   "succeeded review" : "succeeded"))
		violation("booked is succeeded in the end", "%s is %s (%s; %s)", ref_id, state, fate, way);
	if (payment->booked == 0 && payment->pay_requests > 0 && !is_one_of(payment, payment->fate->states))
		violation("the outcome is the provider's", "%s is %s (%s; %s)", ref_id, state, fate, way);
	if (payment->booked == 0 && payment->pay_requests == 0 && payment->state[0] &&
		!is_one_of(payment, "not_sent cancelled review") &&
		!(is_state(payment, "unknown") && is_one_of(payment, payment->fate->states)))
		violation("what never arrived is not settled", "%s is %s (%s; %s)", ref_id, state, fate, way);
}

/*
 * Does a file have this text in it?
 */
static bool
file_contains(const char *path, const char *wanted)
{
	int			fd = open(path, O_RDONLY);
	struct stat status;
	void	   *bytes;
	bool		found;

	if (fd < 0 || fstat(fd, &status) != 0)
		die("%s cannot be read", path);
	if (status.st_size == 0)
	{
		close(fd);
		return false;
	}
	bytes = mmap(NULL, (size_t) status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		die("%s cannot be mapped", path);
	found = memmem(bytes, (size_t) status.st_size, wanted, strlen(wanted)) != NULL;
	munmap(bytes, (size_t) status.st_size);
	close(fd);
	return found;
}

/*
 * The key and the signatures are in nothing that digipay writes.
 */
void
judge_secret(void)
{
	static const char *const invariant = "the key is nowhere";
	char	   *dump = text("%s.data", options.data);
	char	   *copy_log = text("%s.copy", options.log);
	char	   *command = text("%s/pg_dump -h %s -p 5432 -U postgres --data-only -f %s postgres",
							   options.bindir, options.socket_dir, dump);
	int			i;

	look_for_secret("the journal", "digipay_payment p", "p::text", true);
	look_for_secret("the events", "digipay_event e LEFT JOIN digipay_payment p USING (server, ref_id)", "e::text", true);
	look_for_secret("the events' bytes", "digipay_event e LEFT JOIN digipay_payment p USING (server, ref_id)",
					"encode(coalesce(body, ''), 'escape')", true);
	look_for_secret("pg_stat_activity", "pg_stat_activity a", "a::text", false);
	if (run_program(command) != 0)
		die("failed: %s", command);
	if (file_contains(dump, api_key) || file_contains(dump, webhook_secret))
		violation(invariant, "the dump of the data");
	if (file_contains(options.log, api_key) || file_contains(options.log, webhook_secret))
		violation(invariant, "the server's log");
	if (access(copy_log, R_OK) == 0 &&
		(file_contains(copy_log, api_key) || file_contains(copy_log, webhook_secret)))
		violation(invariant, "the copy's log");
	/* of the signatures, some: they are looked for one by one */
	for (i = 0; i < payment_count; i += payment_count / 50 + 1)
	{
		char	   *sql = text("SELECT md5('%s' || '%s' || '%s')",
							   strcmp(payments[i].fate->server, "watched") == 0 ? "watched" : "sim", api_key, payments[i].ref_id);
		char	   *signature = monitor_value(sql);

		if (signature == NULL || file_contains(options.log, signature))
			violation("no signature is in the log", "of %s", payments[i].ref_id);
		free(signature);
		free(sql);
	}
	check("no signature is in the log");
	free(command);
	free(dump);
	free(copy_log);
}

/*
 * What the server itself has to say: a process may only die by our hand.
 */
static void
judge_log(void)
{
	static const char *const invariant = "nothing crashed by itself";
	FILE	   *log = fopen(options.log, "r");
	char	   *line = NULL;
	size_t		room = 0;

	check(invariant);
	while (log && getline(&line, &room, log) > 0)
	{
		const char *place = strstr(line, "was terminated by signal ");

		if (strstr(line, "PANIC:") || strstr(line, "TRAP:") ||
			(place && atoi(place + strlen("was terminated by signal ")) != 9))
			violation(invariant, "%.200s", line);
	}
	free(line);
	if (log)
		fclose(log);
}

/* ------------------------------------------------------------- the report */

/*
 * How often each fate was met: the requests that arrived; of a window, the
 * payments that were tried in it.
 */
static void
count_fates(void)
{
	int			i;
	int			j;

	check("each fault happened often enough");
	check("each fault happened in both dialects");
	printf("what became of the payments that arrived:\n");
	for (i = 0; i < fate_count; i++)
	{
		int			counts[2] = {0, 0}; /* by dialect */
		int			count;

		for (j = 0; j < payment_count; j++)
			counts[payments[j].digiflazz] += payments[j].fate == &fates[i] &&
				(payments[j].pay_requests > 0 || (fates[i].window && j < cursor));
		count = counts[0] + counts[1];
		printf("%7d %s%s, %d in digiflazz\n", count, fates[i].name,
			   fates[i].window ? " (tried meanwhile)" : "", counts[1]);
		if (count < ENOUGH && is_whole_run())
			violation("each fault happened often enough", "%s: %d times", fates[i].name, count);
		if ((counts[0] == 0 || counts[1] == 0) && is_whole_run())
			violation("each fault happened in both dialects", "%s: %d and %d times", fates[i].name,
					  counts[0], counts[1]);
	}
}

static void
count_ways(void)
{
	int			i;
	int			j;

	printf("how they were paid:\n");
	for (i = 0; i < way_count; i++)
	{
		int			count = 0;

		for (j = 0; j < fence_first; j++)
			count += payments[j].way == &ways[i];
		if (count > 0)
			printf("%7d %s\n", count, ways[i].name);
	}
}

static void
count_states(void)
{
	static const char *const states[] = {
		"succeeded", "failed", "rejected", "review", "not_sent", "cancelled", "refunded",
		"queued", "sending", "pending", "unknown", ""
	};
	size_t		i;
	int			j;

	printf("what the journal says in the end:\n");
	for (i = 0; i < sizeof(states) / sizeof(states[0]); i++)
	{
		int			count = 0;

		for (j = 0; j < payment_count; j++)
			count += is_state(&payments[j], states[i]);
		if (count > 0)
			printf("%7d %s\n", count, states[i][0] ? states[i] : "(no row)");
	}
}

/*
 * All of it, when all is over.
 */
void
judge_all(void)
{
	static const char *const always[] = {
		"booked at most once", "every request has a row", "nothing booked is called unpaid",
		"succeeded means booked", "an outcome stays", "an error means that nothing was sent",
		"sent again by digipay_retry only", "cancelled means not sent",
		"what was promised is there", "a rollback leaves nothing",
		"what was asked for is paid", "the price is the provider's",
		"the journal has what was asked for", "no unexpected error", "every call ends",
		"a ref_id is one bill's", "a forged call-back is refused", "nothing that was not asked for is in the books",
		"enough was killed", "enough was paid",
	};
	static const char *const settled[] = {
		"booked is succeeded in the end", "the outcome is the provider's",
		"what never arrived is not settled",
	};
	int			requests = 0;
	int			bookings = 0;
	int			questions = 0;
	size_t		i;
	int			j;

	for (i = 0; i < sizeof(always) / sizeof(always[0]); i++)
		check(always[i]);
	for (i = 0; features.status && i < sizeof(settled) / sizeof(settled[0]); i++)
		check(settled[i]);
	if (!read_journal())
		die("the journal cannot be read");
	read_books(true);
	for (j = 0; j < payment_count; j++)
	{
		judge_payment(&payments[j]);
		requests += payments[j].pay_requests;
		bookings += payments[j].booked;
		questions += payments[j].status_requests;
	}
	if (strangers > 0)
		violation("nothing that was not asked for is in the books", "%d", strangers);
	if (is_whole_run() && requests < ENOUGH_PAID)
		violation("enough was paid", "%d requests arrived", requests);
	if (!events_cover())
		violation("enough was killed", "see below");
	judge_secret();
	judge_log();
	printf("%7d payments\n%7d requests to pay\n%7d status questions\n%7d bookings\n"
		   "%7d sessions busy at once\n",
		   cursor, requests, questions, bookings, most_at_once);
	count_fates();
	count_ways();
	count_states();
	printf("errors that clients were told:\n");
	for (j = 0; j < MOST_ERRORS && errors[j].count > 0; j++)
		printf("%7d %s\n", errors[j].count, errors[j].sqlstate);
	printf("invariants:\n");
	for (j = 0; j < invariant_count; j++)
		printf("%7s %s\n", invariants[j].violations ? "BROKEN" : "ok", invariants[j].name);
}
