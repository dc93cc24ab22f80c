/*-------------------------------------------------------------------------
 *
 * digipay.h
 *	  The structs and enums that travel between digipay's files.
 *
 * No prototypes: what a file may call is told by the headers that it includes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef DIGIPAY_H
#define DIGIPAY_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

/*
 * Longest arguments, in bytes.  The provider documents none; the longest
 * documented customer number (SAMSAT's two parts) has 33.
 */
#define DP_CODE_MAX			64
#define DP_CUSTOMER_NO_MAX	128
#define DP_REF_ID_MAX		64
#define DP_BANK_MAX			64
#define DP_OWNER_NAME_MAX	128

/* Longest account (username@host): a host name has 253 bytes at most. */
#define DP_USERNAME_MAX		128
#define DP_ACCOUNT_MAX		(DP_USERNAME_MAX + 1 + 253)

/* Longest amount as text, in a request or in a reply; see amount.c. */
#define DP_AMOUNT_MAX		100

/* SQLSTATEs of our own; the class is documented in README.md. */
#define DP_ERRCODE_NOT_SENT			MAKE_SQLSTATE('P', 'Y', '0', '0', '1')
#define DP_ERRCODE_OTHER_BILL		MAKE_SQLSTATE('P', 'Y', '0', '0', '2')
#define DP_ERRCODE_NO_WORKER		MAKE_SQLSTATE('P', 'Y', '0', '0', '3')
#define DP_ERRCODE_PAUSED			MAKE_SQLSTATE('P', 'Y', '0', '0', '4')
#define DP_ERRCODE_NO_ANSWER		MAKE_SQLSTATE('P', 'Y', '0', '0', '5')
#define DP_ERRCODE_MAX_PRICE		MAKE_SQLSTATE('P', 'Y', '0', '0', '6')

/*
 * Asia/Jakarta, by whose days the provider counts, is so far ahead of UTC, all
 * year round; in microseconds.
 */
#define DP_JAKARTA_AHEAD	(INT64CONST(7) * USECS_PER_HOUR)

/*
 * The two spellings of one API.  A server's option says which one is spoken at
 * that moment: each request, its reply and each call-back go by the account that
 * was loaded for them, and nothing remembers in which one a payment was made.
 */
typedef enum DpDialect
{
	DP_DIGISWITCH,
	DP_DIGIFLAZZ				/* of the parent service */
} DpDialect;

#define DP_DIALECT_COUNT	(DP_DIGIFLAZZ + 1)

/* What can be asked of the worker. */
typedef enum DpCommand
{
	DP_PAY,
	DP_INQUIRE,
	DP_PROBE,					/* digipay_health's question */
	DP_STATUS,					/* what has become of a payment? */
	DP_WEBHOOK,					/* the provider's call-back, to be applied */
	DP_WAIT,					/* tell when a payment has become final */
	DP_TAKE_OVER,				/* make this queue ours */
	DP_BALANCE,					/* what is left of our deposit? */
	DP_DEPOSIT,					/* open a ticket, to fill it up */
	DP_PRICE_LIST				/* what is sold, and for how much? */
} DpCommand;

/* States of a payment: same names and order as the SQL type digipay_state. */
typedef enum DpState
{
	DP_QUEUED,
	DP_SENDING,
	DP_NOT_SENT,
	DP_PENDING,
	DP_UNKNOWN,
	DP_SUCCEEDED,
	DP_FAILED,
	DP_REJECTED,
	DP_REFUNDED,
	DP_CANCELLED,
	DP_REVIEW
} DpState;

/* What a status question or a call-back says about a payment. */
typedef enum DpEvent
{
	DP_EVENT_NOTHING,			/* it says nothing about the payment */
	DP_EVENT_SUCCEEDED,
	DP_EVENT_FAILED,
	DP_EVENT_REJECTED,
	DP_EVENT_REFUNDED,
	DP_EVENT_PENDING,
	DP_EVENT_DOUBTFUL,			/* the provider itself does not know, or is odd */
	DP_EVENT_NOT_FOUND,
	DP_EVENT_NOT_UNIQUE			/* the ref_id exists, perhaps from elsewhere */
} DpEvent;

#define DP_EVENT_COUNT	(DP_EVENT_NOT_UNIQUE + 1)

/*
 * What a session asks for.  Plain data without pointers, since it goes through
 * shared memory.
 */
typedef struct DpAsk
{
	DpCommand	command;
	Oid			server;			/* foreign server */
	bool		testing;		/* the server's default already applied */
	bool		retry;			/* DP_PAY: what was rejected or cancelled, too */
	bool		refresh;		/* DP_STATUS: even if the payment is final */
	bool		lost_nothing;	/* DP_TAKE_OVER */
	bool		prepaid;		/* DP_PRICE_LIST: of these products */
	uint32		body_handle;	/* DP_WEBHOOK: shared memory with the body */
	uint32		body_len;
	int32		year;			/* inquiry of property tax; 0: not given */
	char		code[DP_CODE_MAX + 1];	/* DP_PRICE_LIST: "": all of them */
	char		customer_no[DP_CUSTOMER_NO_MAX + 1];
	char		ref_id[DP_REF_ID_MAX + 1];
	char		max_price[DP_AMOUNT_MAX + 1];	/* "": no limit */
	char		amount[DP_AMOUNT_MAX + 1];	/* inquiry of e-money, deposit; "": none */
	char		bank[DP_BANK_MAX + 1];	/* this and the next two: of a deposit */
	char		owner_name[DP_OWNER_NAME_MAX + 1];
	int64		ticket;			/* filled in by the worker */
	NameData	requested_by;	/* the session's effective role */
} DpAsk;

/* An error on its way to the session that shall raise it. */
typedef struct DpProblem
{
	int			sqlerrcode;		/* 0: no problem */
	char		message[256];
	char		detail[512];	/* "": none */
	char		hint[256];		/* "": none */
} DpProblem;

/* How far a request got. */
typedef enum DpStage
{
	DP_STAGE_NOTHING,			/* not even the name was resolved */
	DP_STAGE_RESOLVED,			/* but not connected */
	DP_STAGE_CONNECTED,			/* but TLS was not agreed upon */
	DP_STAGE_SECURED			/* the request could leave */
} DpStage;

/* What the worker found out for digipay_health. */
typedef struct DpProbe
{
	DpStage		stage;
	bool		complete;		/* a whole HTTP reply came */
	bool		trusted;		/* and a reply came that can be believed */
	bool		tls;
	int			http_status;
	char		address[64];	/* numeric address of the peer; "": none */
	char		rc[16];
	char		message[256];	/* the provider's words, or what went wrong */
} DpProbe;

/* How the worker answers. */
typedef enum DpAnswerKind
{
	DP_ANSWER_ROW,				/* look at the journal, or the inquiry */
	DP_ANSWER_BUSY,				/* somebody's transaction holds the row */
	DP_ANSWER_PROBLEM,			/* raise this; nothing was sent */
	DP_ANSWER_PROBE,
	DP_ANSWER_AMOUNT,			/* the balance */
	DP_ANSWER_NOTHING			/* done; there is no row to look at */
} DpAnswerKind;

typedef struct DpAnswer
{
	DpAnswerKind kind;
	char		account[DP_ACCOUNT_MAX + 1];	/* of the row, if it is one */
	char		ref_id[DP_REF_ID_MAX + 1];	/* of a call-back's row */
	char		amount[DP_AMOUNT_MAX + 1];
	int64		ticket;			/* whose row to look at */
	DpProblem	problem;
	DpProbe		probe;
} DpAnswer;

/*
 * A server's options and its PUBLIC mapping, as they were at one moment.
 * Strings live in the memory context that was current when it was loaded.
 */
typedef struct DpAccount
{
	Oid			server;
	char	   *server_name;
	char	   *endpoint;
	char	   *balance_endpoint;	/* this and the next two: NULL: derived from endpoint */
	char	   *deposit_endpoint;
	char	   *price_list_endpoint;
	char	   *username;
	char	   *account;		/* username@host */
	char	   *api_key;		/* NULL unless asked for; wipe after use */
	char	   *api_key_file;	/* NULL: the key is in the mapping */
	char	   *ca_file;		/* NULL: the system's authorities */
	DpDialect	dialect;
	bool		testing;
	bool		paused;
	bool		require_inquiry;	/* of the same day, before a payment */
	bool		allow_private_address;
	int			connect_timeout;	/* milliseconds, like the next three */
	int			timeout;
	int			status_interval;
	int			queue_ttl;
	int			max_in_flight;
} DpAccount;

/* One request, ready to be sent. */
typedef struct DpRequest
{
	const char *endpoint;
	const char *ca_file;		/* NULL: the system's authorities */
	char	   *body;			/* has the signature in it: wiped after use */
	size_t		body_len;
	bool		allow_private_address;
	int			connect_timeout;	/* milliseconds */
	int			timeout;		/* milliseconds */
	size_t		max_response_size;	/* bytes */
	TimestampTz leave_before;	/* 0: it may leave at any time */
} DpRequest;

/* What became of a request, as far as the transport can tell. */
typedef struct DpResponse
{
	bool		departed;		/* false: provably no byte of it left */
	bool		complete;		/* a whole HTTP reply came */
	bool		tls;
	DpStage		stage;
	int			curl_code;
	int			http_status;	/* 0: none came */
	TimestampTz sent_at;		/* when it left; meaningless unless departed */
	const char *body;			/* not terminated; NULL when none came */
	size_t		body_len;
	char		address[64];	/* numeric address of the peer; "": none */
	char		error[512];		/* "" when complete */
} DpResponse;

/*
 * A reply, read.  Texts are UTF-8, as the provider sent them; NULL is absent.
 * Amounts have been checked to be safe as input of type numeric.
 */
typedef struct DpReply
{
	bool		trusted;		/* well-formed, about this request, consistent */
	bool		error_object;	/* all it has is rc and message, and may */
	DpState		state;			/* what a payment answered so becomes */
	DpEvent		event;			/* what a status or a call-back says */
	const char *reason;			/* in words, unless all is well */
	char	   *ref_id;			/* this and the next two: as echoed */
	char	   *customer_no;
	char	   *code;
	char	   *rc;
	char	   *status;
	char	   *message;
	char	   *name;
	char	   *sn;
	char	   *periode;
	char	   *price;
	char	   *selling_price;
	char	   *admin;
	char	   *base_commission;
	char	   *balance;
	char	   *deposit;		/* what is left, in the answer to DP_BALANCE */
	char	   *amount;			/* this and the next: of a deposit ticket */
	char	   *notes;
	char	   *desc;			/* JSON text */
	char	   *data;			/* JSON text of the whole data object */
	char	   *note;			/* what did not fit its column; NULL: nothing */
} DpReply;

#endif							/* DIGIPAY_H */
