/*
 * transport_transfer.h
 *	  One request as libcurl is told of it, and what it reports back.
 *
 * For transport.c only.  Nothing here raises an error or allocates PostgreSQL
 * memory; what goes wrong is in the response.
 */
#ifndef DIGIPAY_TRANSPORT_TRANSFER_H
#define DIGIPAY_TRANSPORT_TRANSFER_H

#include <curl/curl.h>

#include "digipay.h"
#include "lib/ilist.h"
#include "transport.h"

#if LIBCURL_VERSION_NUM < 0x075700
#error "digipay needs libcurl 7.87 or later"
#endif

/*
 * A kept connection that the peer closes under a payment costs an "unknown", so
 * connections are not used again after this many idle seconds: less than the
 * shortest keep-alive time in common use.
 */
#define DP_MAX_IDLE_SECONDS	10L

struct DpTransfer
{
	/* transport_transfer.c's */
	CURL	   *easy;
	bool		peer_set;		/* libcurl knows what the next two say */
	char	   *endpoint;
	char	   *ca_file;
	const char *upload;			/* the body and how much of it is taken */
	size_t		upload_len;
	size_t		upload_taken;
#ifdef DIGIPAY_FAULT_POINTS
	bool		sent_whole;
#endif
	bool		private_allowed;
	bool		loopback_only;	/* plain http */
	size_t		max_size;
	TimestampTz leave_before;	/* 0: at any time */
	size_t		header_size;
	char	   *received;		/* malloc'd; kept for the next request */
	size_t		received_len;
	size_t		received_room;
	const char *refusal;		/* why it was stopped; NULL: libcurl knows */
	char		curl_error[CURL_ERROR_SIZE];
	DpResponse	response;

	/* transport.c's */
	void	   *owner;
	bool		running;		/* libcurl has it */
	dlist_node	running_node;
	int64		lost_at;		/* by the monotonic clock */
	DpTransfer *next;			/* in a list: idle, or done */
};

extern bool dp_transfer_init(void);
extern DpTransfer *dp_transfer_new(void);
extern bool dp_transfer_load(DpTransfer *transfer, const DpRequest *request, bool fresh);
extern void dp_transfer_finish(DpTransfer *transfer, CURLcode result);
extern void dp_transfer_unload(DpTransfer *transfer);

#endif							/* DIGIPAY_TRANSPORT_TRANSFER_H */
