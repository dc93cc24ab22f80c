/*
 * state.h
 *	  What the provider's words mean for a payment: tables, and pure functions
 *	  over them.
 */
#ifndef DIGIPAY_STATE_H
#define DIGIPAY_STATE_H

#include "digipay.h"

/* The provider's status word. */
typedef enum DpStatusWord
{
	DP_STATUS_NONE,				/* missing, or no word that is documented */
	DP_STATUS_SUKSES,
	DP_STATUS_GAGAL,
	DP_STATUS_PENDING
} DpStatusWord;

/* Whether the provider has a transaction after such an answer. */
typedef enum DpCreated
{
	DP_CREATED_NO,
	DP_CREATED_YES,
	DP_CREATED_MAYBE
} DpCreated;

/* One response code; meaning and conclusions are documented in README.md. */
typedef struct DpResponseCode
{
	const char *rc;				/* NULL: the row for all codes not listed */
	const char *meaning;
	DpStatusWord status;		/* the word that belongs to it */
	DpCreated	created;
	DpState		on_pay;
	int			on_status;		/* a DpState, or DP_NO_CHANGE */
	int			on_webhook;
} DpResponseCode;

/* "says nothing about the payment", where a state would stand */
#define DP_NO_CHANGE	(-1)

/* What an event does to a payment in some state. */
typedef enum DpEffect
{
	DP_KEEP,					/* it agrees with what is known */
	DP_NOTE,					/* nothing; but it is written down */
	DP_CHANGE,					/* to another state */
	DP_CONTRADICT				/* a final state is in doubt: review */
} DpEffect;

extern const char *dp_state_name(DpState state);
extern bool dp_state_from_name(const char *name, DpState *state);
extern bool dp_state_is_final(DpState state);
extern bool dp_state_may_leave(DpState state);
extern bool dp_state_may_be_retried(DpState state);
extern bool dp_state_is_asked_about(DpState state);
extern DpEffect dp_transition(DpState from, bool contradicted, DpEvent event, DpState *to);
extern DpStatusWord dp_status_word(const char *status);
extern const char *dp_status_word_name(DpStatusWord word);
extern const DpResponseCode *dp_response_code(const char *rc);
extern const DpResponseCode *dp_response_code_at(int i);
extern const char *dp_refusal_advice(const char *rc);
extern bool dp_conclude_pay(const char *rc, const char *status, int http_status,
							DpState *state, const char **reason);
extern bool dp_conclude_event(const char *rc, const char *status, const char *message,
							  int http_status, bool webhook,
							  DpEvent *event, const char **reason);
extern bool dp_conclude_account(const char *rc, const char *wrong, int http_status,
								bool consequential, DpState *state, const char **reason);
extern bool dp_limit_reached(const char *rc, int http_status);
extern bool dp_conclude_inquiry(const char *rc, const char *status, int http_status,
								const char **reason);

#endif							/* DIGIPAY_STATE_H */
