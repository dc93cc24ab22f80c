/*
 * bank.h
 *		What a request means, and what the provider answers.
 */
#ifndef BANK_H
#define BANK_H

#include <stdbool.h>
#include <stddef.h>

#include "answer.h"
#include "books.h"
#include "dialect.h"

/* A transaction request as it was read; what it lacks is NULL */
typedef struct BankRequest
{
	struct cJSON *document;		/* owns the strings */
	DialectNumber dialect;
	Command		command;
	const char *username;
	const char *code;
	const char *customer_no;
	const char *ref_id;
	const char *sign;
	bool		well_formed;	/* all is there and of the right type */
} BankRequest;

extern void bank_read(DialectNumber dialect, const char *body, BankRequest *request);
extern void bank_answer(const BankRequest *request, bool withhold, Answer *answer);
extern void bank_release(BankRequest *request);

#endif							/* BANK_H */
