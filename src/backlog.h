/*
 * backlog.h
 *	  What is due in the journal: queued payments and status questions, and the
 *	  pace at which the worker takes them on.
 */
#ifndef DIGIPAY_BACKLOG_H
#define DIGIPAY_BACKLOG_H

#include "digipay.h"

/* A payment that became final, but not through the worker's hands. */
typedef struct DpNews
{
	const char *server;
	const char *ref_id;
	DpState		state;
} DpNews;

extern void dp_backlog_init(void);
extern void dp_backlog_poked(void);
extern void dp_backlog_forget(void);
extern void dp_backlog_changed(void);
extern bool dp_backlog_is_due(void);
extern void dp_backlog_look(void);
extern const DpNews *dp_backlog_news(int i);
extern void dp_backlog_told(void);
extern bool dp_backlog_next(DpAsk *ask);
extern bool dp_backlog_is_waiting(void);
extern long dp_backlog_timeout(void);
extern bool dp_backlog_is_empty(void);
extern bool dp_backlog_is_prepared(void);
extern int	dp_backlog_queue_length(void);

/* what became of what was taken on */
extern void dp_backlog_done(const DpAsk *ask);
extern void dp_backlog_left(Oid server);
extern void dp_backlog_could_not_leave(Oid server);
extern void dp_backlog_rest(Oid server);
extern bool dp_backlog_rests(Oid server, TimestampTz *until);

#endif							/* DIGIPAY_BACKLOG_H */
