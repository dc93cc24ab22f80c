/*
 * transport.h
 *	  Requests over HTTP, many at once, each leaving at most once.
 *
 * For the worker only.  Nothing here raises an error or allocates PostgreSQL
 * memory; what goes wrong is in the response.
 */
#ifndef DIGIPAY_TRANSPORT_H
#define DIGIPAY_TRANSPORT_H

#include "digipay.h"

/* A request on its way; the caller's until dp_transport_release. */
typedef struct DpTransfer DpTransfer;

extern const char *dp_transport_init(void);
extern int	dp_transport_socket(void);
extern int	dp_transport_allow(int connections);
extern DpTransfer *dp_transport_start(const DpRequest *request, void *owner);
extern long dp_transport_timeout(void);
extern void dp_transport_drive(void);
extern DpTransfer *dp_transport_next_done(void);
extern void *dp_transport_owner(DpTransfer *transfer);
extern const DpResponse *dp_transport_response(DpTransfer *transfer);
extern void dp_transport_distrust(void);
extern bool dp_transport_abandon(DpTransfer *transfer);
extern void dp_transport_release(DpTransfer *transfer);

#endif							/* DIGIPAY_TRANSPORT_H */
