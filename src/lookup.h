/*
 * lookup.h
 *	  A row of the journal by its key, as it is now, for a session.
 */
#ifndef DIGIPAY_LOOKUP_H
#define DIGIPAY_LOOKUP_H

#include "digipay.h"

/* A row, and what must be known of it to go on. */
typedef struct DpFound
{
	Datum		row;			/* of the table's row type */
	DpState		state;			/* of a payment */
	bool		same_bill;		/* code, customer_no and testing are as asked */
	bool		own;			/* written by this very transaction */
} DpFound;

extern bool dp_lookup_payment(const char *account, const DpAsk *ask, DpFound *found);
extern bool dp_lookup_payment_settled(const char *account, const DpAsk *ask, DpFound *found);
extern bool dp_lookup_payment_or_own(const char *account, const DpAsk *ask, DpFound *found);
extern void dp_lookup_bill(const DpAccount *account, DpAsk *ask);
extern DpState dp_lookup_existing(const DpAccount *account, DpAsk *ask, DpFound *found);
extern void dp_lookup_check_bill(const DpAsk *ask, const DpFound *found);
extern int	dp_lookup_column_count(void);
extern void dp_lookup_done(void);
extern bool dp_lookup_inquiry(const char *server, const DpAsk *ask, DpFound *found);

#endif							/* DIGIPAY_LOOKUP_H */
