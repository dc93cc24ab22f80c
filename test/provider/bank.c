/*
 * bank.c
 *		What a request means, and what the provider answers.
 *
 * The refusals and their codes:
 *
 *	rc	HTTP	when
 *	40	400		not JSON, a field missing or of the wrong type
 *	42	400		unknown username
 *	41	400		wrong signature
 *	43	400		unknown product code
 *	44	200		running balance too low
 *	49	200		ref_id paid before (--unique-ref-id)
 *	50	200		status of a ref_id that is not known
 *	60	200		inquiry of, or payment for, a number whose inquiry fails
 *	62	200		payment without an inquiry of today (--insist-on-inquiry)
 *	87	200		e-money amount not a multiple of 1000
 *	02	200		payment for a number whose payment fails
 *	03	200		pending
 */
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "bank.h"
#include "buffer.h"
#include "encode.h"
#include "product.h"
#include "sample.h"
#include "script.h"
#include "settings.h"
#include "witness.h"

#define EMONEY_STEP 1000

/* An answer without a bill */
typedef struct Verdict
{
	int			http_status;
	const char *rc;
	const char *status;
	const char *message;
} Verdict;

static const Verdict not_readable = {400, "40", "Gagal", "Payload tidak valid"};
static const Verdict wrong_signature = {400, "41", "Gagal", "Signature tidak valid"};
static const Verdict unknown_username = {400, "42", "Gagal", "Username tidak valid"};
static const Verdict unknown_code = {400, "43", "Gagal", "Produk tidak ditemukan atau non-aktif"};
static const Verdict too_poor = {200, "44", "Gagal", "Saldo tidak cukup"};
static const Verdict not_unique = {200, "49", "Gagal", "Ref ID tidak unik"};
static const Verdict not_found = {200, "50", "Gagal", "Data belum ada"};
static const Verdict no_bill = {200, "60", "Gagal", "Tagihan belum tersedia"};
static const Verdict no_inquiry = {200, "62", "Gagal", "Belum ada inquiry hari ini"};
static const Verdict bad_amount = {200, "87", "Gagal", "Nominal wajib kelipatan Rp 1.000"};
static const Verdict failed = {200, "02", "Gagal", "Transaksi Gagal"};
static const Verdict pending = {200, "03", "Pending", "Transaksi Pending"};

/*
 * The string called key, NULL when there is none or it is empty.
 */
static const char *
text_of(const cJSON *document, const char *key)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(document, key));

	return text && *text ? text : NULL;
}

/*
 * The command by its name.
 */
static Command
command_of(const char *name)
{
	if (name == NULL)
		return COMMAND_NONE;
	if (strcmp(name, "pay-pasca") == 0)
		return COMMAND_PAY;
	if (strcmp(name, "inq-pasca") == 0)
		return COMMAND_INQUIRE;
	if (strcmp(name, "status-pasca") == 0)
		return COMMAND_STATUS;
	return COMMAND_NONE;
}

/*
 * Are the optional fields, where given, of the documented type?
 */
static bool
options_well_formed(const cJSON *document)
{
	const cJSON *testing = cJSON_GetObjectItemCaseSensitive(document, "testing");
	const cJSON *year = cJSON_GetObjectItemCaseSensitive(document, "year");
	const cJSON *amount = cJSON_GetObjectItemCaseSensitive(document, "amount");

	return (testing == NULL || cJSON_IsBool(testing)) &&
		(year == NULL || cJSON_IsNumber(year)) &&
		(amount == NULL || cJSON_IsNumber(amount));
}

/*
 * Read a NUL-terminated body.  Never fails: what cannot be read is missing.
 * The request is released by bank_release.
 */
void
bank_read(DialectNumber dialect, const char *body, BankRequest *request)
{
	const Dialect *keys = &dialects[dialect];
	cJSON	   *document = cJSON_ParseWithOpts(body ? body : "", NULL, true);

	memset(request, 0, sizeof(*request));
	request->document = document;
	request->dialect = dialect;
	request->command = command_of(text_of(document, keys->command));
	request->username = text_of(document, "username");
	request->code = text_of(document, keys->code);
	request->customer_no = text_of(document, "customer_no");
	request->ref_id = text_of(document, "ref_id");
	request->sign = text_of(document, "sign");
	request->well_formed = cJSON_IsObject(document) &&
		request->command != COMMAND_NONE && request->username && request->code &&
		request->customer_no && request->ref_id && request->sign &&
		options_well_formed(document);
}

/*
 * Free what bank_read made.
 */
void
bank_release(BankRequest *request)
{
	cJSON_Delete(request->document);
	memset(request, 0, sizeof(*request));
}

/*
 * Give the buffer's text to the answer.
 */
static void
answer_with(Answer *answer, int http_status, Buffer *text)
{
	answer->http_status = http_status;
	answer->body = text->data;
	answer->length = text->length;
}

/*
 * Append a member unless its value is missing.
 */
static void
add_member(Buffer *json, const char *key, const char *value)
{
	if (value == NULL)
		return;
	buffer_printf(json, "%s\"%s\":", json->data[json->length - 1] == '{' ? "" : ",", key);
	buffer_add_json(json, value);
}

/*
 * The word of the branch that the double is.
 */
static const char *
status_word(const char *status)
{
	if (!settings.malaysian)
		return status;
	return strcmp(status, "Gagal") == 0 ? "Failed" :
		strcmp(status, "Pending") == 0 ? "Processing" : "Success";
}

/*
 * Answer with an error object, which says nothing of the request.
 */
static void
refuse(const Verdict *verdict, Answer *answer)
{
	Buffer		json = {0};

	buffer_add_text(&json, "{\"data\":{");
	add_member(&json, "rc", verdict->rc);
	add_member(&json, "message", verdict->message);
	buffer_add_text(&json, "}}");
	answer_with(answer, verdict->http_status, &json);
}

/*
 * Answer with a verdict and no bill.
 */
static void
say(const BankRequest *request, const Verdict *verdict, Answer *answer)
{
	Buffer		json = {0};

	buffer_add_text(&json, "{\"data\":{");
	add_member(&json, "ref_id", request->ref_id);
	add_member(&json, "customer_no", request->customer_no);
	add_member(&json, dialects[request->dialect].code, request->code);
	add_member(&json, "message", verdict->message);
	add_member(&json, "status", status_word(verdict->status));
	add_member(&json, "rc", verdict->rc);
	buffer_add_text(&json, "}}");
	answer_with(answer, verdict->http_status, &json);
}

/*
 * Answer with the sample of the product.  The balance is NULL for the
 * sample's own.
 */
static void
show_bill(const BankRequest *request, Product product, int bills,
		  const long long *balance, bool paid, Answer *answer)
{
	SampleFill	fill = {
		.ref_id = request->ref_id,
		.customer_no = request->customer_no,
		.code = request->code,
		.balance = balance,
		.without_sn = !paid,
		.malaysian = settings.malaysian,
	};
	Buffer		json = {0};

	sample_reply(&json, request->dialect, product, bills, &fill);
	answer_with(answer, 200, &json);
}

/*
 * What is wrong with the request itself, or NULL.
 */
static const Verdict *
find_fault(const BankRequest *request)
{
	char		signature[SIGNATURE_LENGTH + 1];

	if (!request->well_formed)
		return &not_readable;
	if (strcmp(request->username, settings.username) != 0)
		return &unknown_username;
	sign(settings.username, settings.api_key, request->ref_id, signature);
	if (strcmp(request->sign, signature) != 0)
		return &wrong_signature;
	if (product_of_code(request->code) == PRODUCT_UNKNOWN)
		return &unknown_code;
	return NULL;
}

/*
 * inq-pasca: what is owed.  Moves no money.
 */
static void
answer_inquiry(const BankRequest *request, Product product, Answer *answer)
{
	Bill		bill = product_bill(product, request->customer_no);
	const cJSON *amount = cJSON_GetObjectItemCaseSensitive(request->document, "amount");
	long long	balance;
	bool		running;

	if (product == PRODUCT_EMONEY && amount &&
		(amount->valuedouble <= 0 || (long long) amount->valuedouble % EMONEY_STEP != 0))
	{
		say(request, &bad_amount, answer);
		return;
	}
	if (bill.fate == FATE_INQUIRY_FAILS)
	{
		say(request, &no_bill, answer);
		return;
	}
	books_inquiry(request->ref_id, request->customer_no, request->code);
	running = books_balance(&balance);
	show_bill(request, product, bill.bills, running ? &balance : NULL, false, answer);
}

/*
 * The outcome a bill's fate leads to.
 */
static Outcome
outcome_of(Fate fate)
{
	switch (fate)
	{
		case FATE_SUCCESS:
			return OUTCOME_SUCCESS;
		case FATE_PENDING_SUCCESS:
			return OUTCOME_PENDING_SUCCESS;
		case FATE_PENDING_FAILED:
			return OUTCOME_PENDING_FAILED;
		case FATE_INQUIRY_FAILS:
		case FATE_PAYMENT_FAILS:
			break;
	}
	return OUTCOME_FAILED;
}

/*
 * Write a payment into the books.  With withhold it never reaches them.
 * Returns what to answer instead of the outcome, or NULL.
 */
static const Verdict *
take_in(const BankRequest *request, Product product, Outcome outcome, int bills, bool withhold)
{
	Payment		payment = {
		.ref_id = request->ref_id,
		.customer_no = request->customer_no,
		.code = request->code,
		.outcome = outcome,
		.price = sample_price(product, bills, settings.malaysian),
	};

	if (withhold)
		return NULL;
	switch (books_pay(&payment, settings.unique_ref_id))
	{
		case BOOKING_NOT_UNIQUE:
			return &not_unique;
		case BOOKING_TOO_POOR:
			return &too_poor;
		case BOOKING_DONE:
			break;
	}
	return NULL;
}

/*
 * Answer with an outcome that is known: success or failure, now or later.
 */
static void
say_outcome(const BankRequest *request, Product product, const Bill *bill,
			Outcome outcome, const long long *balance, Answer *answer)
{
	switch (outcome)
	{
		case OUTCOME_SUCCESS:
			show_bill(request, product, bill->bills, balance, true, answer);
			break;
		case OUTCOME_PENDING_SUCCESS:
		case OUTCOME_PENDING_FAILED:
			say(request, &pending, answer);
			break;
		case OUTCOME_FAILED:
		case OUTCOME_NONE:
			say(request, bill->fate == FATE_INQUIRY_FAILS ? &no_bill : &failed, answer);
			break;
	}
}

/*
 * pay-pasca: the money moves here, or by a script's word.
 */
static void
answer_payment(const BankRequest *request, Product product, bool withhold, Answer *answer)
{
	Bill		bill = product_bill(product, request->customer_no);
	Outcome		outcome = outcome_of(bill.fate);
	const Verdict *refusal;
	long long	balance;
	bool		running;
	bool		book;

	if (script_answer(request->ref_id, COMMAND_PAY, answer, &book))
	{
		if (book)
			take_in(request, product, OUTCOME_SUCCESS, bill.bills, withhold);
		return;
	}
	if (settings.insist_on_inquiry &&
		!books_inquired_today(request->ref_id, request->customer_no, request->code))
		refusal = &no_inquiry;
	else
		refusal = take_in(request, product, outcome, bill.bills, withhold);
	if (refusal)
	{
		say(request, refusal, answer);
		return;
	}
	running = books_balance(&balance);
	say_outcome(request, product, &bill, outcome, running ? &balance : NULL, answer);
}

/*
 * status-pasca: what became of a payment, under the bill it was made for.
 */
static void
answer_status(const BankRequest *request, Answer *answer)
{
	BankRequest paid = *request;
	Record		record;
	Product		product;
	Bill		bill;
	Outcome		outcome;
	long long	unused;
	const long long *balance;

	if (!books_find(request->ref_id, &record) ||
		(record.outcome == OUTCOME_NONE && !settings.status_echoes_inquiry))
	{
		say(request, &not_found, answer);
		books_record_free(&record);
		return;
	}
	if (strcmp(record.customer_no, request->customer_no) != 0 ||
		strcmp(record.code, request->code) != 0)
		books_complain("status-pasca for ref_id %s names another bill than its payment",
					   request->ref_id);
	paid.customer_no = record.customer_no;
	paid.code = record.code;
	product = product_of_code(record.code);
	bill = product_bill(product, record.customer_no);
	balance = books_balance(&unused) ? &record.balance : NULL;
	outcome = record.outcome;
	if (now_steady() >= record.paid_at + settings.pending / 1e3)
	{
		if (outcome == OUTCOME_PENDING_SUCCESS)
			outcome = OUTCOME_SUCCESS;
		else if (outcome == OUTCOME_PENDING_FAILED)
			outcome = OUTCOME_FAILED;
	}
	if (outcome == OUTCOME_NONE)
		show_bill(&paid, product, bill.bills, balance, false, answer);
	else
		say_outcome(&paid, product, &bill, outcome, balance, answer);
	books_record_free(&record);
}

/*
 * Answer a request that was read: write it into the books, judge it, and do
 * what it asks for.  With withhold a payment is answered but never booked.
 */
void
bank_answer(const BankRequest *request, bool withhold, Answer *answer)
{
	const Verdict *fault;
	Product		product;
	bool		unused;

	answer->transaction = true;
	answer->ref_id = must_copy(request->ref_id);
	answer->delay = settings.delay;
	books_received(request->command, request->ref_id, request->customer_no, request->code);
	if (request->command == COMMAND_PAY && request->ref_id)
		witness_pay(request->ref_id);

	fault = find_fault(request);
	if (fault)
	{
		if (settings.error_objects)
			refuse(fault, answer);
		else
			say(request, fault, answer);
		return;
	}
	product = product_of_code(request->code);
	if (request->command == COMMAND_PAY)
		answer_payment(request, product, withhold, answer);
	else if (script_answer(request->ref_id, request->command, answer, &unused))
		return;
	else if (request->command == COMMAND_INQUIRE)
		answer_inquiry(request, product, answer);
	else
		answer_status(request, answer);
}
