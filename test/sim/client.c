/*
 * client.c
 *		The sessions that pay: what they do, what is done to them, and what
 *		they are told.
 *
 * All of them in one thread, over libpq's asynchronous calls.  A client takes
 * a task: a payment, or several for one statement, and the steps of its way.
 * A call that ends in an error, other than a cancel, a shutdown or a lost
 * connection, has sent nothing: the judge holds digipay to that by
 * may_have_sent.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define RECONNECT_PAUSE		0.02
#define CALL_LIMIT			30.0	/* seconds; no call takes longer */

typedef struct Task
{
	struct Task *next;
	double		not_before;
	Payment    *payment;		/* the first of count in a row */
	int			count;
	Mischief	mischief;
	bool		follow_up;
	Step		steps[MOST_STEPS];
} Task;

typedef enum Standing
{
	DOWN,
	CONNECTING,
	IDLE,
	BUSY
} Standing;

typedef struct Client
{
	Standing	standing;
	PGconn	   *conn;
	PostgresPollingStatusType polling;
	double		retry_at;
	Task		task;
	int			at;				/* the step that runs */
	bool		in_transaction;
	bool		short_time;
	bool		cleaning;		/* the step is what follows an error */
	double		since;
	double		mischief_at;
	bool		got;			/* the step's first result */
	ExecStatusType status;
	char		sqlstate[6];
	char		value[32];
	char	   *message;
} Client;

int			cursor;
int			gate;
bool		hold;
int			most_at_once;

static Client clients[MOST_CLIENTS];
static Task *follow_ups;

/*
 * Does the statement of this step send the payment?
 */
static bool
is_pay(Step step)
{
	return step == PAY || step == PAY_AND_FAIL || step == PAY_MAX;
}

/*
 * Give somebody a task for later.
 */
static void
add_task(Payment *payment, int count, const Step *steps, Mischief mischief, double delay)
{
	Task	   *task = calloc(1, sizeof(Task));
	Task	  **place = &follow_ups;

	task->payment = payment;
	task->count = count;
	task->mischief = mischief;
	task->not_before = now() + delay;
	task->follow_up = true;
	memcpy(task->steps, steps, sizeof(task->steps));
	while (*place && (*place)->not_before <= task->not_before)
		place = &(*place)->next;
	task->next = *place;
	*place = task;
}

/*
 * Send a step's statement.
 */
static void
send_step(Client *client, Step step)
{
	char	   *sql = statement_of(client->task.payment, client->task.count, step);

	client->standing = BUSY;
	client->since = now();
	client->got = false;
	client->sqlstate[0] = client->value[0] = '\0';
	free(client->message);
	client->message = NULL;
	PQsendQuery(client->conn, sql);		/* a failure shows when it is read */
	free(sql);
}

/* -------------------------------------------------------- what comes of it */

/*
 * A call has told a state.
 */
static void
note_state(Payment *payment, const char *state)
{
	if (strcmp(state, "succeeded") == 0)
		payment->seen_succeeded = true;
	else if (strcmp(state, "failed") == 0)
		payment->seen_failed = true;
	if (payment->seen_succeeded && payment->seen_failed)
		violation("an outcome stays", "%s was told to have succeeded and to have failed",
				  payment->ref_id);
}

/*
 * The open transaction, or the statement, that submits was committed, or may
 * have been.
 */
static void
note_submitted(Task *task, bool certain)
{
	int			i;

	for (i = 0; i < task->count; i++)
	{
		task->payment[i].may_have_sent++;
		task->payment[i].submitted = false;
		if (certain)
			task->payment[i].promised = true;
	}
}

/*
 * All payments of the task are submitted in the open transaction, or not.
 */
static void
set_submitted(Task *task, bool submitted)
{
	int			i;

	for (i = 0; i < task->count; i++)
		task->payment[i].submitted = submitted;
}

/*
 * What the payment is asked for next, if anything, by its dice.
 */
static void
follow(Client *client, bool uncertain)
{
	Task	   *task = &client->task;
	Payment    *payment = task->payment;
	uint32_t	dice = payment->dice >> (8 + 8 * payment->follow_ups);
	Step		steps[MOST_STEPS] = {END};
	double		delay = (payment->dice % 97) / 200.0;

	if (payment->follow_ups >= 2 || task->count > 1 || payment->may_have_sent == 0 ||
		payment->prepared)
		return;
	if (uncertain && dice % 10 < 7)
		steps[0] = PAY;
	else if (strncmp(payment->fate->prefix, "again-", 6) == 0 && features.retry &&
			 payment->follow_ups == 0)
	{
		if (!main_double.frozen)
			double_dictate(payment, 200, success_body, true);
		steps[0] = RETRY;
	}
	else if (dice % 16 < 5)
		steps[0] = PAY;
	else if (dice % 16 == 5 && features.retry)
		steps[0] = RETRY;
	else if (dice % 16 == 6 && features.status)
		steps[0] = STATUS;
	else if (dice % 16 == 7 && features.status)
		steps[0] = REFRESH;
	else if (dice % 16 == 8 && features.wait)
		steps[0] = WAIT;
	else if (dice % 16 == 9 && features.wait)
		steps[0] = WAIT_ALL;
	else if (dice % 16 == 10 && features.cancel)
		steps[0] = CANCEL;
	else if (dice % 16 == 11 && features.webhook)
		steps[0] = WEBHOOK;
	else if (dice % 64 == 12 && features.webhook)
		steps[0] = FORGED;
	else
		return;
	payment->follow_ups++;
	add_task(payment, 1, steps, NO_MISCHIEF, delay);
}

/*
 * The task is over.
 */
static void
end_task(Client *client, bool uncertain)
{
	if (client->standing == BUSY)
		client->standing = IDLE;
	client->in_transaction = client->short_time = client->cleaning = false;
	set_submitted(&client->task, false);
	follow(client, uncertain);
	client->task.payment = NULL;
}

/*
 * The connection is gone: what the running step may have done counts as done.
 */
static void
lose(Client *client)
{
	Task	   *task = &client->task;
	bool		was_busy = client->standing == BUSY && task->payment;
	Step		step = was_busy ? task->steps[client->at] : END;

	PQfinish(client->conn);
	client->conn = NULL;
	client->standing = DOWN;
	client->retry_at = now() + RECONNECT_PAUSE;
	if (!was_busy)
		return;
	if (!client->cleaning)
	{
		if (is_pay(step))
			task->payment->may_have_sent++;
		else if (step == RETRY)
		{
			task->payment->may_have_sent++;
			task->payment->retries++;
		}
		else if ((step == SUBMIT || step == ORDER) && !client->in_transaction)
			note_submitted(task, false);
		else if (step == COMMIT && task->payment->submitted)
			note_submitted(task, false);
		else if (step == COMMIT_PREPARED)
			note_submitted(task, false);
		else if (step == PREPARE)
			task->payment->prepared = true;
	}
	note_error("lost");
	end_task(client, true);
}

/*
 * Start the next step, or end the task.
 */
static void
next_step(Client *client)
{
	Task	   *task = &client->task;
	Step		step;

	client->at++;
	step = client->at < MOST_STEPS ? task->steps[client->at] : END;
	if (step == END)
		end_task(client, false);
	else
		send_step(client, step);
}

/*
 * The step went well.
 */
static void
step_done(Client *client)
{
	Task	   *task = &client->task;
	Payment    *payment = task->payment;
	Step		step = task->steps[client->at];

	switch (step)
	{
		case BEGIN:
			client->in_transaction = true;
			break;
		case COMMIT:
			client->in_transaction = false;
			if (payment->submitted)
				note_submitted(task, true);
			break;
		case ROLLBACK:
			client->in_transaction = false;
			set_submitted(task, false);
			break;
		case ROLLBACK_TO:
			set_submitted(task, false);
			break;
		case PREPARE:
			client->in_transaction = false;
			payment->prepared = true;
			break;
		case COMMIT_PREPARED:
			payment->prepared = false;
			note_submitted(task, true);
			break;
		case ROLLBACK_PREPARED:
			payment->prepared = false;
			set_submitted(task, false);
			break;
		case SHORT_TIME:
			client->short_time = true;
			break;
		case LONG_TIME:
			client->short_time = false;
			break;
		case PAY_OTHER:
			violation("a ref_id is one bill's", "%s was taken for another bill: %s",
					  payment->ref_id, client->value);
			break;
		case PAY:
		case PAY_AND_FAIL:
		case PAY_MAX:
			payment->may_have_sent++;
			payment->promised = true;
			note_state(payment, client->value);
			break;
		case RETRY:
			payment->may_have_sent++;
			payment->retries++;
			note_state(payment, client->value);
			break;
		case SUBMIT:
		case ORDER:
			if (client->in_transaction)
				set_submitted(task, true);
			else
				note_submitted(task, true);
			if (task->count == 1 && step == SUBMIT)
				note_state(payment, client->value);
			break;
		case CANCEL:
			payment->cancelled = strcmp(client->value, "cancelled") == 0;
			break;
		case FORGED:
			if (client->value[0])
				violation("a forged call-back is refused", "of %s: %s", payment->ref_id, client->value);
			break;
		case WAIT:
		case WAIT_ALL:
		case STATUS:
		case REFRESH:
		case WEBHOOK:
			if (task->count == 1)
				note_state(payment, client->value);
			break;
		case INQUIRE:
		case SAVEPOINT:
		case END:
			break;
	}
	next_step(client);
}

/*
 * The step ended in an error, and the connection stands.
 */
static void
step_failed(Client *client)
{
	Task	   *task = &client->task;
	Payment    *payment = task->payment;
	Step		step = task->steps[client->at];
	bool		interrupted = strcmp(client->sqlstate, "57014") == 0;

	note_error(client->sqlstate);
	if (options.verbose || strncmp(client->sqlstate, "XX", 2) == 0)
		say("%s: step %d: %s", payment->ref_id, (int) step, client->message);
	if (strncmp(client->sqlstate, "XX", 2) == 0 || strncmp(client->sqlstate, "42", 2) == 0)
	{
		/* unknown to wait and its like where the intent was never written */
		if (!(strcmp(client->sqlstate, "42704") == 0 && !is_pay(step)) &&
			!(strcmp(client->sqlstate, "42501") == 0 && step == FORGED))
			violation("no unexpected error", "%s: %s", payment->ref_id, client->message);
	}
	if (is_pay(step) && (interrupted || (step == PAY_AND_FAIL &&
										  strcmp(client->sqlstate, "22012") == 0)))
	{
		payment->may_have_sent++;
		payment->promised |= !interrupted;
	}
	else if (step == RETRY && interrupted)
	{
		payment->may_have_sent++;
		payment->retries++;
	}
	else if (step == COMMIT && payment->submitted)
		note_submitted(task, false);
	else if (step == COMMIT_PREPARED)
		note_submitted(task, false);

	/* undo what the session has open */
	client->cleaning = true;
	if (client->in_transaction)
	{
		client->in_transaction = false;
		set_submitted(task, false);
		send_step(client, ROLLBACK);
	}
	else if (client->short_time)
	{
		client->short_time = false;
		send_step(client, LONG_TIME);
	}
	else
		end_task(client, interrupted);
}

/*
 * Take in what the server has sent.
 */
static void
read_results(Client *client)
{
	PGresult   *result;

	if (!PQconsumeInput(client->conn))
	{
		lose(client);
		return;
	}
	while (client->standing == BUSY && !PQisBusy(client->conn))
	{
		result = PQgetResult(client->conn);
		if (result == NULL)
		{
			if (PQstatus(client->conn) != CONNECTION_OK || !client->got)
				lose(client);
			else if (client->cleaning)
			{
				if (client->short_time)
				{
					client->short_time = false;
					send_step(client, LONG_TIME);
				}
				else
					end_task(client, strcmp(client->sqlstate, "57014") == 0);
			}
			else if (client->status == PGRES_FATAL_ERROR)
				step_failed(client);
			else
				step_done(client);
			return;
		}
		if (!client->got)
		{
			const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

			client->got = true;
			client->status = PQresultStatus(result);
			if (sqlstate)
				snprintf(client->sqlstate, sizeof(client->sqlstate), "%s", sqlstate);
			else if (client->status == PGRES_FATAL_ERROR)
				client->got = false;	/* libpq's own: the connection is lost */
			if (client->status == PGRES_FATAL_ERROR)
				client->message = strdup(PQresultErrorMessage(result));
			if (PQntuples(result) > 0)
				snprintf(client->value, sizeof(client->value), "%s", PQgetvalue(result, 0, 0));
		}
		PQclear(result);
	}
	if (client->standing == IDLE && PQstatus(client->conn) != CONNECTION_OK)
		lose(client);
}

/* ----------------------------------------------------------- the sessions */

/*
 * Go on with opening a connection.
 */
static void
go_on_connecting(Client *client)
{
	if (client->standing == DOWN)
	{
		client->conn = PQconnectStart(conninfo(options.socket_dir, "postgres"));
		client->standing = CONNECTING;
		client->since = now();
		client->polling = PGRES_POLLING_WRITING;
		if (PQstatus(client->conn) == CONNECTION_BAD)
			client->polling = PGRES_POLLING_FAILED;
	}
	else
		client->polling = PQconnectPoll(client->conn);
	if (client->polling == PGRES_POLLING_OK)
		client->standing = IDLE;
	else if (client->polling == PGRES_POLLING_FAILED || now() - client->since > 10)
		lose(client);
}

/*
 * Begin a task.
 */
static void
begin_task(Client *client, const Task *task)
{
	client->task = *task;
	client->at = 0;
	client->cleaning = client->in_transaction = client->short_time = false;
	client->mischief_at = 0;
	if (task->mischief != NO_MISCHIEF)
		client->mischief_at = now() + (task->payment->dice % 23) / 1000.0;
	send_step(client, task->steps[0]);
}

/*
 * Find an idle client something to do; false when there is nothing.
 */
static bool
hand_out(Client *client)
{
	Task		task = {0};

	if (hold)
		return false;
	if (follow_ups && follow_ups->not_before <= now())
	{
		Task	   *first = follow_ups;

		follow_ups = first->next;
		first->next = NULL;
		begin_task(client, first);
		free(first);
		return true;
	}
	if (cursor >= gate || cursor >= fence_first)
		return false;
	task.payment = &payments[cursor];
	task.count = 1;
	task.mischief = task.payment->way->mischief;
	memcpy(task.steps, task.payment->way->steps, sizeof(task.steps));
	if (task.payment->way->group)
	{
		while (task.count < task.payment->way->group && cursor + task.count < fence_first &&
			   payments[cursor + task.count].way == task.payment->way)
			task.count++;
	}
	cursor += task.count;
	if (task.payment->way->twice)
		add_task(task.payment, 1, task.steps, NO_MISCHIEF, 0);
	begin_task(client, &task);
	return true;
}

/*
 * Do to a client what its task asks for.
 */
static void
do_mischief(Client *client)
{
	pid_t		pid = PQbackendPID(client->conn);

	client->mischief_at = 0;
	switch (client->task.mischief)
	{
		case NO_MISCHIEF:
			break;
		case CANCELLED:
			kill(pid, SIGINT);
			break;
		case TERMINATED:
			kill(pid, SIGTERM);
			break;
		case DROPPED:
			lose(client);
			break;
	}
}

/*
 * One round: wait for so long at most, and go on with all clients.
 */
void
clients_turn(int milliseconds)
{
	struct pollfd events[MOST_CLIENTS];
	Client	   *owners[MOST_CLIENTS];
	int			count = 0;
	int			busy = 0;
	int			i;

	for (i = 0; i < options.clients; i++)
	{
		Client	   *client = &clients[i];

		if (client->standing == DOWN && now() >= client->retry_at && !server_gone(postmaster))
			go_on_connecting(client);
		if (client->standing == IDLE)
			hand_out(client);
		busy += client->standing == BUSY;
		if (client->standing == BUSY && client->mischief_at > 0 && now() >= client->mischief_at)
			do_mischief(client);
		if (client->standing == BUSY && now() - client->since > CALL_LIMIT)
		{
			violation("every call ends", "%s: step %d has taken %d seconds",
					  client->task.payment->ref_id, (int) client->task.steps[client->at],
					  (int) CALL_LIMIT);
			lose(client);
		}
		if (client->standing == DOWN)
			continue;
		events[count].fd = PQsocket(client->conn);
		events[count].events = POLLIN;
		if (client->standing == CONNECTING && client->polling == PGRES_POLLING_WRITING)
			events[count].events = POLLOUT;
		else if (client->standing == BUSY && PQflush(client->conn) == 1)
			events[count].events |= POLLOUT;
		owners[count++] = client;
	}
	if (busy > most_at_once)
		most_at_once = busy;
	if (poll(events, (nfds_t) count, milliseconds) <= 0)
		return;
	for (i = 0; i < count; i++)
	{
		if (events[i].revents == 0 || owners[i]->standing == DOWN)
			continue;
		if (owners[i]->standing == CONNECTING)
			go_on_connecting(owners[i]);
		else
			read_results(owners[i]);
	}
}

/*
 * Is there nothing left to do, and nobody at it?
 */
bool
clients_idle(void)
{
	int			i;

	for (i = 0; i < options.clients; i++)
	{
		if (clients[i].standing == BUSY)
			return false;
	}
	return follow_ups == NULL && cursor >= fence_first;
}

/*
 * How many sessions there are.
 */
int
clients_connected(void)
{
	int			count = 0;
	int			i;

	for (i = 0; i < options.clients; i++)
		count += clients[i].standing == IDLE || clients[i].standing == BUSY;
	return count;
}

/*
 * The process of a session that waits for a payment, or 0.
 */
pid_t
a_busy_backend(void)
{
	int			i;

	for (i = 0; i < options.clients; i++)
	{
		if (clients[i].standing == BUSY && is_pay(clients[i].task.steps[clients[i].at]))
			return PQbackendPID(clients[i].conn);
	}
	return 0;
}

/*
 * Have the payments of a window, from one number up to another, been tried?
 */
bool
window_over(int from, int to)
{
	int			i;

	if (cursor < to)
		return false;
	for (i = 0; i < options.clients; i++)
	{
		const Payment *payment = clients[i].task.payment;

		if (clients[i].standing == BUSY && payment && payment->number >= from &&
			payment->number < to)
			return false;
	}
	return true;
}

/*
 * Close all sessions.
 */
void
clients_disconnect(void)
{
	int			i;

	for (i = 0; i < options.clients; i++)
	{
		if (clients[i].conn)
			PQfinish(clients[i].conn);
		clients[i].conn = NULL;
		clients[i].standing = DOWN;
		clients[i].retry_at = 0;
	}
}

/*
 * Begin.
 */
void
clients_start(void)
{
	memset(clients, 0, sizeof(clients));
	gate = 0;
}
