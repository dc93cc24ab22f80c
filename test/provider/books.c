/*
 * books.c
 *		The double's own books: what was asked, and what was booked.
 *
 * The tests judge by these and not by the journal of the software under test.
 * One mutex guards everything; nothing under it waits for anything else.
 */
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "books.h"
#include "desk.h"

#define MOST_TIMES 16			/* arrivals and answers kept for each ref_id */
#define MOST_COMPLAINTS 1000	/* further ones are only counted */

#define JAKARTA_OFFSET (7 * 3600)	/* no daylight saving since 1964 */
#define DAY_SECONDS 86400

typedef struct Times
{
	double	   *at;
	int			count;			/* at most MOST_TIMES */
	int			room;
} Times;

typedef struct Entry
{
	struct Entry *next;			/* in the same slot */
	uint64_t	hash;
	int			pay_requests;
	int			inquiries;
	int			status_requests;
	int			booked;
	char	   *customer_no;	/* of the last pay request, else of the first other */
	char	   *code;
	long long	price;			/* of the last booking */
	Times		arrived;
	Times		answered;

	/* the last successful inquiry */
	char	   *inquired_customer_no;
	char	   *inquired_code;
	long		inquired_day;

	/* the last payment that the provider took in */
	Outcome		outcome;
	double		paid_at;
	long long	balance;
	char		ref_id[];
} Entry;

static pthread_mutex_t books_mutex = PTHREAD_MUTEX_INITIALIZER;

static Entry **slots;
static size_t slot_count;
static size_t entry_count;

static long requests;
static long bookings;
static int in_flight;
static int max_in_flight;
static long connections;
static long accepted;

static char *complaints[MOST_COMPLAINTS];
static long complaint_count;

static bool has_balance;
static long long start_balance;
static long long balance_now;

/*
 * Today's number in Asia/Jakarta.
 */
static long
jakarta_day(void)
{
	return ((long) time(NULL) + JAKARTA_OFFSET) / DAY_SECONDS;
}

/*
 * FNV-1a.
 */
static uint64_t
hash_text(const char *text)
{
	uint64_t	hash = 14695981039346656037ULL;

	for (; *text; text++)
		hash = (hash ^ (unsigned char) *text) * 1099511628211ULL;
	return hash;
}

/*
 * Double the slots.  Caller holds the mutex.
 */
static void
grow_slots(void)
{
	size_t		count = slot_count ? slot_count * 2 : 4096;
	Entry	  **bigger = must_alloc(count * sizeof(Entry *));
	size_t		i;

	for (i = 0; i < slot_count; i++)
	{
		Entry	   *entry = slots[i];

		while (entry)
		{
			Entry	   *next = entry->next;

			entry->next = bigger[entry->hash & (count - 1)];
			bigger[entry->hash & (count - 1)] = entry;
			entry = next;
		}
	}
	free(slots);
	slots = bigger;
	slot_count = count;
}

/*
 * The entry of a ref_id, made when asked for, else NULL.  Caller holds the
 * mutex.
 */
static Entry *
find_entry(const char *ref_id, bool make)
{
	uint64_t	hash = hash_text(ref_id);
	Entry	   *entry;
	size_t		size;

	if (slot_count > 0)
	{
		for (entry = slots[hash & (slot_count - 1)]; entry; entry = entry->next)
		{
			if (entry->hash == hash && strcmp(entry->ref_id, ref_id) == 0)
				return entry;
		}
	}
	if (!make)
		return NULL;
	if (entry_count >= slot_count)
		grow_slots();
	size = strlen(ref_id) + 1;
	entry = must_alloc(sizeof(Entry) + size);
	memcpy(entry->ref_id, ref_id, size);
	entry->hash = hash;
	entry->next = slots[hash & (slot_count - 1)];
	slots[hash & (slot_count - 1)] = entry;
	entry_count++;
	return entry;
}

/*
 * Write the present time down, unless there are enough already.
 */
static void
add_time(Times *times)
{
	if (times->count == MOST_TIMES)
		return;
	if (times->count == times->room)
	{
		times->room = times->room ? times->room * 4 : 1;
		times->at = realloc(times->at, (size_t) times->room * sizeof(double));
		if (times->at == NULL)
			abort();
	}
	times->at[times->count++] = now_real();
}

/*
 * Replace a string by a copy of another, unless they are the same.
 */
static void
keep(char **place, const char *text)
{
	if (*place && text && strcmp(*place, text) == 0)
		return;
	free(*place);
	*place = must_copy(text);
}

/*
 * Open the books.  With a running balance each booking takes its price from
 * it; without, the books know no balance.
 */
void
books_start(bool running_balance, long long balance)
{
	has_balance = running_balance;
	start_balance = balance_now = balance;
}

/*
 * A connection was accepted, whatever for.
 */
void
books_accepted(void)
{
	pthread_mutex_lock(&books_mutex);
	accepted++;
	pthread_mutex_unlock(&books_mutex);
}

/*
 * A connection brought its first transaction.
 */
void
books_connection(void)
{
	pthread_mutex_lock(&books_mutex);
	connections++;
	pthread_mutex_unlock(&books_mutex);
}

/*
 * A transaction request arrived.  It is in flight until books_answered or
 * books_abandoned.  What could not be read is NULL.
 */
void
books_received(Command command, const char *ref_id, const char *customer_no,
			   const char *code)
{
	Entry	   *entry;

	pthread_mutex_lock(&books_mutex);
	requests++;
	if (++in_flight > max_in_flight)
		max_in_flight = in_flight;
	if (ref_id)
	{
		entry = find_entry(ref_id, true);
		entry->pay_requests += (command == COMMAND_PAY);
		entry->inquiries += (command == COMMAND_INQUIRE);
		entry->status_requests += (command == COMMAND_STATUS);
		if (command == COMMAND_PAY || entry->customer_no == NULL)
			keep(&entry->customer_no, customer_no);
		if (command == COMMAND_PAY || entry->code == NULL)
			keep(&entry->code, code);
		add_time(&entry->arrived);
	}
	pthread_mutex_unlock(&books_mutex);
}

/*
 * The answer of a request that was received is about to leave.
 */
void
books_answered(const char *ref_id)
{
	Entry	   *entry;

	pthread_mutex_lock(&books_mutex);
	in_flight--;
	entry = ref_id ? find_entry(ref_id, false) : NULL;
	if (entry)
		add_time(&entry->answered);
	pthread_mutex_unlock(&books_mutex);
}

/*
 * A request that was received will have no answer.
 */
void
books_abandoned(void)
{
	pthread_mutex_lock(&books_mutex);
	in_flight--;
	pthread_mutex_unlock(&books_mutex);
}

/*
 * Write down what a provider would have to complain about.
 */
void
books_complain(const char *format,...)
{
	char		text[1024];
	va_list		arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	pthread_mutex_lock(&books_mutex);
	if (complaint_count < MOST_COMPLAINTS)
		complaints[complaint_count] = must_copy(text);
	complaint_count++;
	pthread_mutex_unlock(&books_mutex);
}

/*
 * An inquiry was answered with success.
 */
void
books_inquiry(const char *ref_id, const char *customer_no, const char *code)
{
	Entry	   *entry;

	pthread_mutex_lock(&books_mutex);
	entry = find_entry(ref_id, true);
	keep(&entry->inquired_customer_no, customer_no);
	keep(&entry->inquired_code, code);
	entry->inquired_day = jakarta_day();
	pthread_mutex_unlock(&books_mutex);
}

/*
 * Was this very bill inquired about with success today, Asia/Jakarta?
 */
bool
books_inquired_today(const char *ref_id, const char *customer_no, const char *code)
{
	Entry	   *entry;
	bool		inquired;

	pthread_mutex_lock(&books_mutex);
	entry = find_entry(ref_id, false);
	inquired = entry && entry->inquired_customer_no &&
		strcmp(entry->inquired_customer_no, customer_no) == 0 &&
		strcmp(entry->inquired_code, code) == 0 &&
		entry->inquired_day == jakarta_day();
	pthread_mutex_unlock(&books_mutex);
	return inquired;
}

/*
 * Take a payment in, and book it when its outcome is, or will be, success.
 * Not idempotent, unless unique: paid twice is booked twice.
 */
Booking
books_pay(const Payment *payment, bool unique)
{
	bool		books = payment->outcome == OUTCOME_SUCCESS ||
		payment->outcome == OUTCOME_PENDING_SUCCESS;
	Booking		result = BOOKING_DONE;
	Entry	   *entry;

	pthread_mutex_lock(&books_mutex);
	entry = find_entry(payment->ref_id, true);
	if (unique && entry->outcome != OUTCOME_NONE)
		result = BOOKING_NOT_UNIQUE;
	else if (books && has_balance && balance_now < payment->price)
		result = BOOKING_TOO_POOR;
	else
	{
		if (books)
		{
			bookings++;
			entry->booked++;
			entry->price = payment->price;
			balance_now -= payment->price;
		}
		keep(&entry->customer_no, payment->customer_no);
		keep(&entry->code, payment->code);
		entry->outcome = payment->outcome;
		entry->paid_at = now_steady();
		entry->balance = balance_now;
	}
	pthread_mutex_unlock(&books_mutex);
	return result;
}

/*
 * What is known of a ref_id; false when it was neither paid nor inquired
 * about with success.
 */
bool
books_find(const char *ref_id, Record *record)
{
	Entry	   *entry;
	bool		paid;

	memset(record, 0, sizeof(*record));
	pthread_mutex_lock(&books_mutex);
	entry = find_entry(ref_id, false);
	if (entry)
	{
		paid = entry->outcome != OUTCOME_NONE;
		record->outcome = entry->outcome;
		record->paid_at = entry->paid_at;
		record->balance = paid ? entry->balance : balance_now;
		record->inquired = entry->inquired_customer_no != NULL;
		record->customer_no = must_copy(paid ? entry->customer_no : entry->inquired_customer_no);
		record->code = must_copy(paid ? entry->code : entry->inquired_code);
	}
	pthread_mutex_unlock(&books_mutex);
	return record->outcome != OUTCOME_NONE || record->inquired;
}

/*
 * Free the strings of a record.
 */
void
books_record_free(Record *record)
{
	free(record->customer_no);
	free(record->code);
	memset(record, 0, sizeof(*record));
}

/*
 * The running balance; false when there is none.
 */
bool
books_balance(long long *balance)
{
	bool		known;

	pthread_mutex_lock(&books_mutex);
	known = has_balance;
	*balance = balance_now;
	pthread_mutex_unlock(&books_mutex);
	return known;
}

/*
 * Set, or do without, the running balance from now on.
 */
void
books_set_balance(bool running_balance, long long balance)
{
	pthread_mutex_lock(&books_mutex);
	has_balance = running_balance;
	start_balance = balance_now = balance;
	pthread_mutex_unlock(&books_mutex);
}

/*
 * Append a list of times.
 */
static void
show_times(Buffer *json, const char *key, const Times *times)
{
	int			i;

	buffer_printf(json, ",\"%s\":[", key);
	for (i = 0; i < times->count; i++)
		buffer_printf(json, "%s%.6f", i ? "," : "", times->at[i]);
	buffer_add_text(json, "]");
}

/*
 * Append one ref_id's object.
 */
static void
show_entry(Buffer *json, const Entry *entry)
{
	buffer_printf(json, "{\"pay_requests\":%d,\"inquiries\":%d,\"status_requests\":%d,"
				  "\"booked\":%d,\"customer_no\":",
				  entry->pay_requests, entry->inquiries, entry->status_requests,
				  entry->booked);
	buffer_add_json(json, entry->customer_no);
	buffer_add_text(json, ",\"code\":");
	buffer_add_json(json, entry->code);
	buffer_add_text(json, ",\"price\":");
	buffer_add_amount(json, entry->price);
	show_times(json, "arrived_at", &entry->arrived);
	show_times(json, "answered_at", &entry->answered);
	buffer_add_text(json, "}");
}

/*
 * Append all the books as a JSON object.
 */
void
books_show(Buffer *json, bool with_refs)
{
	const char *separator = "";
	size_t		i;

	pthread_mutex_lock(&books_mutex);
	buffer_printf(json, "{\"requests\":%ld,\"bookings\":%ld,\"in_flight\":%d,"
				  "\"max_in_flight\":%d,\"connections\":%ld,\"accepted\":%ld,",
				  requests, bookings, in_flight, max_in_flight, connections, accepted);
	if (has_balance)
	{
		buffer_add_text(json, "\"balance\":");
		buffer_add_amount(json, balance_now);
		buffer_add_text(json, ",");
	}
	buffer_add_text(json, "\"calls\":");
	desk_show(json);
	buffer_add_text(json, ",");
	buffer_printf(json, "\"complaint_count\":%ld,\"complaints\":[", complaint_count);
	for (i = 0; i < MOST_COMPLAINTS && i < (size_t) complaint_count; i++)
	{
		buffer_add_text(json, i ? "," : "");
		buffer_add_json(json, complaints[i]);
	}
	buffer_add_text(json, "]");
	if (with_refs)
	{
		buffer_add_text(json, ",\"refs\":{");
		for (i = 0; i < slot_count; i++)
		{
			const Entry *entry;

			for (entry = slots[i]; entry; entry = entry->next)
			{
				buffer_add_text(json, separator);
				buffer_add_json(json, entry->ref_id);
				buffer_add_text(json, ":");
				show_entry(json, entry);
				separator = ",";
			}
		}
		buffer_add_text(json, "}");
	}
	buffer_add_text(json, "}");
	pthread_mutex_unlock(&books_mutex);
}

/*
 * Append the object of one ref_id, {} when it is unknown.
 */
void
books_show_ref(Buffer *json, const char *ref_id)
{
	const Entry *entry;

	pthread_mutex_lock(&books_mutex);
	entry = find_entry(ref_id, false);
	if (entry)
		show_entry(json, entry);
	else
		buffer_add_text(json, "{}");
	pthread_mutex_unlock(&books_mutex);
}

/*
 * Empty the books.  What is in flight stays in flight; the balance is what it
 * was at the start.
 */
void
books_reset(void)
{
	size_t		i;

	pthread_mutex_lock(&books_mutex);
	for (i = 0; i < slot_count; i++)
	{
		while (slots[i])
		{
			Entry	   *entry = slots[i];

			slots[i] = entry->next;
			free(entry->customer_no);
			free(entry->code);
			free(entry->inquired_customer_no);
			free(entry->inquired_code);
			free(entry->arrived.at);
			free(entry->answered.at);
			free(entry);
		}
	}
	for (i = 0; i < MOST_COMPLAINTS && i < (size_t) complaint_count; i++)
	{
		free(complaints[i]);
		complaints[i] = NULL;
	}
	entry_count = 0;
	requests = bookings = connections = accepted = complaint_count = 0;
	max_in_flight = in_flight;
	balance_now = start_balance;
	pthread_mutex_unlock(&books_mutex);
}
