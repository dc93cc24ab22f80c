/*
 * sim.h
 *		What the parts of the simulator share.
 */
#ifndef SIM_H
#define SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <libpq-fe.h>

#define MOST_CLIENTS	64
#define MOST_STEPS		8
#define WHOLE_RUN		13000	/* payments planned, so that 10,000 arrive */

/* What a client does, one statement each */
typedef enum Step
{
	END,
	BEGIN,
	COMMIT,
	ROLLBACK,
	SAVEPOINT,
	ROLLBACK_TO,
	PREPARE,
	COMMIT_PREPARED,
	ROLLBACK_PREPARED,
	SHORT_TIME,					/* a statement_timeout that strikes */
	LONG_TIME,
	PAY,
	PAY_AND_FAIL,				/* an error in the statement that pays */
	PAY_MAX,
	PAY_OTHER,					/* the same ref_id for another bill */
	INQUIRE,
	SUBMIT,
	ORDER,						/* an INSERT whose trigger submits */
	WAIT,
	WAIT_ALL,
	STATUS,
	REFRESH,
	RETRY,
	CANCEL,
	WEBHOOK,					/* the provider's call-back, true or late */
	FORGED						/* ... and one that it has not sent */
} Step;

/* What is done to a client in the middle of its work */
typedef enum Mischief
{
	NO_MISCHIEF,
	CANCELLED,
	DROPPED,
	TERMINATED
} Mischief;

/* How a payment is paid */
typedef struct Way
{
	const char *name;
	int			weight;			/* how often, relative to the others */
	int			group;			/* payments in one statement; 0: one */
	bool		twice;			/* another client pays the same at the same time */
	Mischief	mischief;
	Step		steps[MOST_STEPS];
} Way;

/* What the provider, or the network, makes of a payment */
typedef struct Fate
{
	const char *name;
	int			share;			/* of 10,000 payments; 0: what is left */
	const char *server;			/* or its twin in the other dialect */
	const char *prefix;			/* of the ref_id: the double's fault */
	const char *customer_no;
	const char *code;
	int			http_status;	/* of a dictated reply; 0: there is none */
	bool		book;			/* ... and whether it is booked */
	const char *body;
	const char *states;			/* where it may end when it arrived and was not booked */
	const char *window;			/* all of these at once, while this goes on */
} Fate;

typedef struct Payment
{
	/* the plan */
	int			number;
	const Fate *fate;
	const Way  *way;
	const char *server;
	bool		digiflazz;		/* which is what that server speaks */
	const char *code;
	const char *customer_no;
	char		ref_id[56];
	uint32_t	dice;			/* what is random about what follows */

	/* what the clients did and saw */
	int			may_have_sent;	/* calls that did not end in an error */
	int			retries;		/* of these, by digipay_retry */
	bool		submitted;		/* in the transaction that is open */
	bool		prepared;
	bool		promised;		/* the journal must have it */
	bool		cancelled;		/* digipay_cancel said so, nobody retried */
	bool		seen_succeeded;
	bool		seen_failed;
	int			follow_ups;

	/* the double's books */
	int			pay_requests;
	int			status_requests;
	int			booked;
	double		booked_price;
	bool		other_bill;		/* the books name another one */

	/* the journal */
	char		state[16];		/* empty: no row */
	double		price;
	bool		has_price;
	char		error[120];
} Payment;

/* What the run was asked for */
typedef struct Options
{
	uint64_t	seed;
	int			payments;
	int			clients;
	int			worker_kills;
	int			postmaster_kills;
	bool		fault_points;	/* compiled in */
	bool		stop_at_first;	/* end with the first violation */
	bool		verbose;
	const char *bindir;
	const char *data;			/* the server's data directory */
	const char *socket_dir;
	const char *log;
	const char *provider;		/* the double's program */
} Options;

/* Which of the functions are there */
typedef struct Features
{
	bool		submit;
	bool		wait;
	bool		status;
	bool		retry;
	bool		cancel;
	bool		take_over;
	bool		webhook;
} Features;

extern Options options;
extern Features features;
extern char api_key[40];
extern char webhook_secret[40];

/* main.c */
extern bool is_whole_run(void);

/* plan.c */
extern Payment *payments;
extern int	payment_count;
extern int	fence_first;		/* the payments from here on are the fence's */
extern const Fate fates[];
extern const int fate_count;
extern const Way ways[];
extern const int way_count;
extern uint64_t random_bits(void);
extern int	random_below(int limit);
extern void plan_make(void);
extern Payment *payment_of_ref(const char *ref_id);
extern char *dictated_body(const Payment *payment, const char *body);
extern const char success_body[];
extern const char *server_in(const char *server, bool digiflazz);

/* client.c */
extern int	cursor;				/* payments that were handed out */
extern int	gate;				/* none from here on, for now */
extern bool hold;				/* nothing at all is handed out */
extern void clients_start(void);
extern void clients_turn(int milliseconds);
extern bool clients_idle(void);
extern int	clients_connected(void);
extern pid_t a_busy_backend(void);
extern void clients_disconnect(void);
extern bool window_over(int from, int to);
extern int	most_at_once;

/* statement.c */
extern char *statement_of(const Payment *payment, int count, Step step);

/* world.c */
typedef struct Double
{
	pid_t		pid;
	int			http_port;
	int			raw_port;
	int			hold;			/* its standard input, ours to close */
	bool		frozen;
} Double;

extern Double main_double;		/* faults by its raw port */
extern Double watching_double;	/* looks every payment up before it answers */
extern pid_t postmaster;
extern double now(void);
extern void die(const char *format,...) __attribute__((format(printf, 1, 2), noreturn));
extern void say(const char *format,...) __attribute__((format(printf, 1, 2)));
extern void double_start(Double *which, const char *witness);
extern char *double_call(const Double *which, const char *method, const char *path,
						 const char *body);
extern int	double_in_flight(const Double *which);
extern char *double_webhook(const Payment *payment, bool late, bool forged);
extern void double_dictate(const Payment *payment, int http_status, const char *body,
						   bool book);
extern pid_t server_start(const char *data, const char *socket_dir, const char *log);
extern bool server_gone(pid_t pid);
extern void children_of(pid_t parent, pid_t *pids, int *count, int most);
extern pid_t child_called(pid_t parent, const char *name);
extern bool gone(pid_t pid);
extern const char *conninfo(const char *socket_dir, const char *database);
extern PGconn *monitor(void);
extern char *monitor_value(const char *sql);
extern void monitor_exec(const char *sql);
extern void monitor_close(void);
extern char *text(const char *format,...) __attribute__((format(printf, 1, 2)));
extern int	run_program(const char *command);
extern void world_end(void);

/* event.c */
extern void events_make(void);
extern void events_turn(void);
extern bool events_over(void);
extern void events_report(void);
extern bool events_cover(void);

/* scene.c */
extern void scene_open(void);
extern void scene_move_raw(int port);
extern void scene_dictate(void);
extern void scene_fence(void);
extern void scene_settle(void);

/* judge.c */
extern int	checks_passed;
extern int	checks_failed;
extern void violation(const char *invariant, const char *format,...)
			__attribute__((format(printf, 2, 3)));
extern void check(const char *invariant);
extern void note_error(const char *sqlstate);
extern void judge_so_far(void);
extern void judge_secret(void);
extern void judge_all(void);
extern bool window_counts(const Fate *fate);

#endif
