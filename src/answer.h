/*
 * answer.h
 *	  What a session is told when its request has come back.
 */
#ifndef DIGIPAY_ANSWER_H
#define DIGIPAY_ANSWER_H

#include "digipay.h"

extern void dp_answer_word(const DpAsk *ask, const DpResponse *response,
						   const DpReply *reply, DpAnswer *answer);

extern const char *dp_answer_reason(const DpResponse *response, const DpReply *reply);
extern void dp_answer_unwritten(const DpAsk *ask, DpProblem *problem);

#endif							/* DIGIPAY_ANSWER_H */
