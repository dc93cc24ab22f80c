/*
 * statement.h
 *	  The SQL on our tables, and the transactions around it.
 */
#ifndef DIGIPAY_STATEMENT_H
#define DIGIPAY_STATEMENT_H

#include <signal.h>

#include "utils/timestamp.h"

/* The statements; what their parameters are is with their text. */
typedef enum DpStatementId
{
	DP_SQL_INTEND,				/* rows */
	DP_SQL_INTEND_FREELY,		/* rows */
	DP_SQL_ENQUEUE,
	DP_SQL_ENQUEUE_FREELY,
	DP_SQL_CLAIM,
	DP_SQL_CLAIM_QUEUED,		/* rows */
	DP_SQL_CLAIM_QUEUED_FREELY, /* rows */
	DP_SQL_REQUEUE,
	DP_SQL_PUT_BACK,
	DP_SQL_CANCEL,
	DP_SQL_EXPIRE,
	DP_SQL_SETTLE,
	DP_SQL_FIND_PAYMENT,
	DP_SQL_FIND_FOREIGN_PAYMENT,
	DP_SQL_FIND_INQUIRY,
	DP_SQL_RECORD_OUTCOME,		/* rows */
	DP_SQL_RECORD_INQUIRY,
	DP_SQL_RECORD_EVENT,
	DP_SQL_RECOVER,
	DP_SQL_FIND_LEFTOVER,
	DP_SQL_LOCK_PAYMENT,
	DP_SQL_PREPARED,
	DP_SQL_FIND_ANY_PAYMENT,
	DP_SQL_SET_FENCE,
	DP_SQL_TAKE_OVER,
	DP_SQL_MUST_ASK,
	DP_SQL_SERVERS,
	DP_SQL_FIRST_DUE,
	DP_SQL_NEXT_DUE,
	DP_SQL_DUE_IN_QUEUE,
	DP_SQL_DUE_QUESTIONS,
	DP_SQL_QUEUE_LENGTH,
	DP_SQL_LAST_EVENT,
	DP_SQL_NEW_VERDICTS,
	DP_SQL_HURRY,
	DP_SQL_FIND_TO_ASK,
	DP_SQL_ASK,
	DP_SQL_FIND_TO_JUDGE,
	DP_SQL_APPLY,
	DP_SQL_CONTRADICT,
	DP_SQL_ADD_FOREIGN,
	DP_SQL_COUNT_EVENTS,
	DP_SQL_ECHOES_INQUIRY,
	DP_SQL_INTEND_TICKET,
	DP_SQL_RECORD_TICKET,
	DP_SQL_RECOVER_TICKETS,
	DP_SQL_FIND_TICKET,
	DP_SQL_INTEND_LIST,
	DP_SQL_FIND_LIST,
	DP_SQL_RECORD_LIST,
	DP_SQL_LIST_ROWS,
	DP_SQL_LOCK_CATALOGUE,
	DP_SQL_SYNC_CATALOGUE,
	DP_SQL_PURGE_PAYMENTS,
	DP_SQL_PURGE_INQUIRIES,
	DP_SQL_PURGE_EVENTS,
	DP_SQL_COUNT
} DpStatementId;

#define DP_MAX_PARAMS	24

/* Parameters of a statement, filled one after the other; start with {0}. */
typedef struct DpParams
{
	Datum		values[DP_MAX_PARAMS];
	char		nulls[DP_MAX_PARAMS];
	int			count;
} DpParams;

/* Rows of parameters, for a statement that does the same for many payments. */
typedef struct DpRows DpRows;

/* What a session had before it ran our statements in its own transaction. */
typedef struct DpSession
{
	Oid			user;
	int			security;
	int			nest_level;
} DpSession;

/* for the handler of cancels: a commit must not notice them */
extern volatile sig_atomic_t dp_is_committing;

extern void dp_transaction_configure(void);
extern void dp_transaction_be_patient(bool patient);
extern bool dp_transaction_begin(void);
extern void dp_transaction_commit(void);
extern void dp_transaction_stop_waiting(void);
extern void dp_transaction_abort(void);
extern void dp_transaction_hold_journal(bool hold);
extern bool dp_journal_is_tampered_with(void);

extern void dp_param_null(DpParams *params);
extern void dp_param(DpParams *params, Datum value);
extern void dp_param_text(DpParams *params, const char *text);
extern void dp_param_name(DpParams *params, const char *name);
extern void dp_param_positive(DpParams *params, int value);

extern void dp_session_begin(DpSession *session);
extern void dp_session_end(DpSession *session);

extern uint64 dp_run(DpStatementId id, DpParams *params);
extern DpRows *dp_rows_begin(DpStatementId id);
extern void dp_rows_add(DpRows *rows, DpParams *row);
extern uint64 dp_run_rows(DpRows *rows);
extern void dp_result_row(uint64 row);
extern Datum dp_result(int column, bool *isnull);
extern Datum dp_result_written(int column);
extern char *dp_result_text(int column);
extern bool dp_result_is(int column, const char *text);
extern int	dp_result_int(int column);
extern int64 dp_result_long(int column);
extern TimestampTz dp_result_time(int column);
extern bool dp_result_bool(int column);

#endif							/* DIGIPAY_STATEMENT_H */
