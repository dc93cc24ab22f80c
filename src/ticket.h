/*
 * ticket.h
 *	  Deposit tickets, written down before they are asked for.
 */
#ifndef DIGIPAY_TICKET_H
#define DIGIPAY_TICKET_H

#include "digipay.h"

extern int64 dp_ticket_intend(const DpAsk *ask, const DpAccount *account);
extern void dp_ticket_outcome(const DpAsk *ask, const DpAccount *account,
							  const DpResponse *response, const DpReply *reply);
extern bool dp_ticket_recover(TimestampTz before);
extern bool dp_ticket_read(int64 ticket, Datum *row);

#endif							/* DIGIPAY_TICKET_H */
