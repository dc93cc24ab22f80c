/*
 * books.h
 *		The double's own books: what was asked, and what was booked.
 */
#ifndef BOOKS_H
#define BOOKS_H

#include <stdbool.h>

#include "buffer.h"

typedef enum Command
{
	COMMAND_NONE,
	COMMAND_INQUIRE,
	COMMAND_PAY,
	COMMAND_STATUS,
	COMMAND_CALL				/* about the account: desk.c */
} Command;

/* What became of the last payment of a ref_id */
typedef enum Outcome
{
	OUTCOME_NONE,				/* never paid, as far as the provider knows */
	OUTCOME_SUCCESS,
	OUTCOME_FAILED,
	OUTCOME_PENDING_SUCCESS,
	OUTCOME_PENDING_FAILED
} Outcome;

typedef enum Booking
{
	BOOKING_DONE,
	BOOKING_NOT_UNIQUE,			/* that ref_id was paid before */
	BOOKING_TOO_POOR			/* the running balance is too low */
} Booking;

/* A payment to be written down */
typedef struct Payment
{
	const char *ref_id;
	const char *customer_no;
	const char *code;
	Outcome		outcome;
	long long	price;			/* amounts are in hundredths, all of them */
} Payment;

/* What the books say of a ref_id; the strings are the caller's to free */
typedef struct Record
{
	char	   *customer_no;	/* of the payment, else of the inquiry */
	char	   *code;
	Outcome		outcome;
	double		paid_at;		/* on the steady clock */
	long long	balance;		/* after the payment */
	bool		inquired;		/* an inquiry was answered with success */
} Record;

extern void books_start(bool running_balance, long long balance);

extern void books_accepted(void);
extern void books_connection(void);
extern void books_received(Command command, const char *ref_id,
						   const char *customer_no, const char *code);
extern void books_answered(const char *ref_id);
extern void books_abandoned(void);
extern void books_complain(const char *format,...)
			__attribute__((format(printf, 1, 2)));

extern void books_inquiry(const char *ref_id, const char *customer_no, const char *code);
extern bool books_inquired_today(const char *ref_id, const char *customer_no, const char *code);
extern Booking books_pay(const Payment *payment, bool unique);
extern bool books_find(const char *ref_id, Record *record);
extern void books_record_free(Record *record);
extern bool books_balance(long long *balance);
extern void books_set_balance(bool running_balance, long long balance);

extern void books_show(Buffer *json, bool with_refs);
extern void books_show_ref(Buffer *json, const char *ref_id);
extern void books_reset(void);

#endif							/* BOOKS_H */
