/*
 * catalogue.h
 *	  The price list: when it was asked for, what it said, and the catalogue that
 *	  is kept of it.
 */
#ifndef DIGIPAY_CATALOGUE_H
#define DIGIPAY_CATALOGUE_H

#include "digipay.h"
#include "funcapi.h"
#include "journal.h"

/* for the worker */
extern DpIntent dp_list_intend(const DpAsk *ask, const DpAccount *account,
							   DpProblem *problem);
extern void dp_list_outcome(const DpAsk *ask, const DpAccount *account,
							const DpResponse *response, DpReply *reply);

/* for sessions */
extern uint64 dp_list_rows(const DpAsk *ask, const char *account, ReturnSetInfo *result);
extern bool dp_catalogue_sync(const DpAsk *ask, const char *account, const char *server,
							  ReturnSetInfo *result);

#endif							/* DIGIPAY_CATALOGUE_H */
