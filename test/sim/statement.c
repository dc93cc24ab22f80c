/*
 * statement.c
 *		What a client says to the server: the text of each step.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

/*
 * The steps that are about one payment, or about none.  In the text, $code,
 * $customer, $ref and $server stand for the payment's own.
 */
static const char *const texts[] = {
	[BEGIN] = "BEGIN",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
	[SAVEPOINT] = "SAVEPOINT s",
	[ROLLBACK_TO] = "ROLLBACK TO s",
	[PREPARE] = "PREPARE TRANSACTION $ref",
	[COMMIT_PREPARED] = "COMMIT PREPARED $ref",
	[ROLLBACK_PREPARED] = "ROLLBACK PREPARED $ref",
	[LONG_TIME] = "SET statement_timeout = 0",
	[PAY] = "SELECT state::text FROM digipay_pay($code, $customer, $ref, server => $server)",
	[PAY_AND_FAIL] = "SELECT 1 / (length(state::text) * 0)"
	" FROM digipay_pay($code, $customer, $ref, server => $server)",
	[PAY_MAX] = "SELECT state::text"
	" FROM digipay_pay($code, $customer, $ref, server => $server, max_price => 1000000)",
	[PAY_OTHER] = "SELECT state::text FROM digipay_pay($code, '530000000002', $ref, server => $server)",
	[INQUIRE] = "SELECT status FROM digipay_inquire($code, $customer, $ref, server => $server)",
	[SUBMIT] = "SELECT state::text FROM digipay_submit($code, $customer, $ref, server => $server)",
	[STATUS] = "SELECT state::text FROM digipay_status($ref, server => $server)",
	[REFRESH] = "SELECT state::text FROM digipay_status($ref, server => $server, refresh => true)",
	[RETRY] = "SELECT state::text FROM digipay_retry($ref, server => $server)",
	[CANCEL] = "SELECT state::text FROM digipay_cancel($ref, server => $server)",
};

/*
 * Write a text of the table, with the payment's own values.
 */
static void
write_text(FILE *sql, const char *text, const Payment *payment)
{
	const struct
	{
		const char *mark;
		const char *value;
	}			marks[] = {
		{"$code", payment->code}, {"$customer", payment->customer_no},
		{"$ref", payment->ref_id}, {"$server", payment->server},
	};

	while (*text)
	{
		bool		marked = false;

		for (size_t i = 0; !marked && i < sizeof(marks) / sizeof(marks[0]); i++)
		{
			size_t		length = strlen(marks[i].mark);

			marked = strncmp(text, marks[i].mark, length) == 0;
			if (marked)
			{
				fprintf(sql, "'%s'", marks[i].value);
				text += length;
			}
		}
		if (!marked)
			fputc(*text++, sql);
	}
}

/*
 * The list of payments as rows of VALUES.
 */
static void
write_values(FILE *sql, const Payment *payment, int count)
{
	for (int i = 0; i < count; i++)
		fprintf(sql, "%s('%s', '%s', '%s', '%s')", i ? ", " : "", payment[i].code,
				payment[i].customer_no, payment[i].ref_id, payment[i].server);
}

/*
 * Wait for those of the payments that are paid through the first one's server.
 */
static void
write_wait_all(FILE *sql, const Payment *payment, int count)
{
	fprintf(sql, "SELECT state::text FROM digipay_wait_all(ARRAY['%s'", payment->ref_id);
	for (int i = 1; i < count; i++)
	{
		if (strcmp(payment[i].server, payment->server) == 0)
			fprintf(sql, ", '%s'", payment[i].ref_id);
	}
	fprintf(sql, "], '500 ms', server => '%s')", payment->server);
}

/*
 * Deliver the provider's call-back, or a forged one; nothing while the provider
 * cannot be asked for it.
 */
static void
write_webhook(FILE *sql, const Payment *payment, bool forged)
{
	char	   *arguments = main_double.frozen ? NULL :
		double_webhook(payment, payment->dice % 3 == 0, forged);

	if (arguments)
		fprintf(sql, "SELECT state::text FROM digipay_webhook(%s)", arguments);
	else
		fputs("SELECT NULL", sql);
	free(arguments);
}

/*
 * The statement of a step about these payments; the caller's to free.
 */
char *
statement_of(const Payment *payment, int count, Step step)
{
	char	   *text = NULL;
	size_t		length;
	FILE	   *sql = open_memstream(&text, &length);

	if (step == SHORT_TIME)
		fprintf(sql, "SET statement_timeout = %d", 1 + (int) (payment->dice % 12));
	else if (step == SUBMIT && count > 1)
	{
		fputs("SELECT count((digipay_submit(code, customer, ref, server => server::name)).state) FROM (VALUES ", sql);
		write_values(sql, payment, count);
		fputs(") v(code, customer, ref, server)", sql);
	}
	else if (step == ORDER)
	{
		fputs("INSERT INTO sim_order (code, customer_no, ref_id, server) SELECT * FROM (VALUES ", sql);
		write_values(sql, payment, count);
		fputs(") v", sql);
	}
	else if (step == WAIT)
		fprintf(sql, "SELECT state::text FROM digipay_wait('%s', '%d ms', server => '%s')",
				payment->ref_id, 50 + (int) (payment->dice % 900), payment->server);
	else if (step == WAIT_ALL)
		write_wait_all(sql, payment, count);
	else if (step == WEBHOOK || step == FORGED)
		write_webhook(sql, payment, step == FORGED);
	else if (step != END)
		write_text(sql, texts[step], payment);
	fclose(sql);
	return text;
}
