/*
 * event.c
 *		What happens to the server, its worker and the network, and when.
 *
 * An event is due when so many payments have been handed out.  One runs at a
 * time; the clients go on meanwhile, up to the gate, so that there is something
 * to strike.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sim.h"

#define SLACK			24		/* payments that may begin while an event is due */
#define MOST_CHILDREN	256
#define MOST_EVENTS		1000
#define CALLER_KILLS	3
#define AUXILIARY_KILLS	2
#define FAST_STOPS		3
#define IMMEDIATE_STOPS	2
#define WORKER_STOPS	20
#define PAUSES			20
#define LOCKS			20
#define POINT_ROUNDS	24		/* of each fault point, its kills apart */
#define ENOUGH_STRUCK	20
#define PAUSE_SECONDS	0.3
#define LOCK_SECONDS	0.7
#define ENDURE			15.0	/* seconds until something is said to hang */

typedef enum Kind
{
	KILL_WORKER,
	KILL_CALLER,
	KILL_CHECKPOINTER,
	KILL_POSTMASTER,			/* the others must notice */
	KILL_EVERYTHING,			/* as when the machine dies */
	STOP_FAST,
	STOP_IMMEDIATE,
	STOP_WORKER,
	PAUSE,						/* the option paused, for a moment */
	LOCK,						/* somebody locks rows of payments in flight */
	FAULT_POINT,
	WINDOW,
	KINDS
} Kind;

static const char *const kind_names[KINDS] = {
	"kill -9 of the worker", "kill -9 of a caller", "kill -9 of the checkpointer",
	"kill -9 of the postmaster", "kill -9 of postmaster and all others",
	"stop -m fast", "stop -m immediate", "SIGTERM of the worker", "server paused",
	"rows in flight locked", "fault points that do not kill", "windows",
};

/* How the moment of a worker's kill is chosen */
typedef enum Moment
{
	AT_ONCE,
	AFTER_A_WHILE,
	ON_RECEIPT,					/* the double has a request that it has not answered */
	BY_FAULT_POINT,
	MOMENTS
} Moment;

typedef enum Phase
{
	WAITING,
	DUE,
	STRUCK,
	DYING,
	STARTING,
	RECOVERING,
	OVER
} Phase;

typedef struct Event
{
	int			at;
	int			order;
	Kind		kind;
	Moment		moment;
	int			point;
	const char *action;
	const Fate *fate;			/* of a window */
	int			to;
	Phase		phase;
	double		since;			/* the phase */
	double		strike_at;
} Event;

static const char *const points[] = {
	"before_intent", "after_intent", "in_prereq", "after_send", "after_headers",
	"after_body", "before_outcome", "after_outcome",
};

#define POINTS ((int) (sizeof(points) / sizeof(points[0])))

static Event events[MOST_EVENTS];
static int	event_count;
static int	current;
static int	done[KINDS];
static int	struck_points[POINTS];
static pid_t children[MOST_CHILDREN];
static int	child_count;
static pid_t victim;
static char *in_flight_list;	/* what was "sending" when the server came back */
static double looked_at;
static PGconn *locker;

/* ------------------------------------------------------------------ the plan */

static Event *
add_event(Kind kind, int at)
{
	Event	   *event = &events[event_count];

	if (event_count == MOST_EVENTS)
		die("too many events");
	event->kind = kind;
	event->at = at;
	event->order = event_count++;
	return event;
}

/*
 * Several of a kind, evenly over the run but for some chance.
 */
static void
add_events(Kind kind, int count)
{
	int			room = fence_first - 120;
	int			i;

	for (i = 0; i < count; i++)
	{
		int			slice = room / count;
		Event	   *event = add_event(kind, 60 + slice * i + random_below(slice > 0 ? slice : 1));

		event->moment = random_below(options.fault_points ? MOMENTS : BY_FAULT_POINT);
		event->point = i % POINTS;
	}
}

static int
by_place(const void *a, const void *b)
{
	const Event *first = a;
	const Event *second = b;

	return first->at != second->at ? first->at - second->at : first->order - second->order;
}

/*
 * A window for each run of payments that have one.  Those that are about new
 * connections follow on a worker's kill, which takes the kept ones away.
 */
static int
add_windows(void)
{
	int			kills = 0;
	int			i;

	for (i = 0; i < fence_first; i++)
	{
		const Fate *fate = payments[i].fate;
		Event	   *event;
		int			from = i;

		if (fate->window == NULL)
			continue;
		while (i + 1 < fence_first && payments[i + 1].fate == fate)
			i++;
		if (strcmp(fate->window, "refuse") != 0 && strcmp(fate->window, "freeze") != 0 &&
			kills < options.worker_kills)
		{
			add_event(KILL_WORKER, from)->moment = AT_ONCE;
			kills++;
		}
		event = add_event(WINDOW, from);
		event->fate = fate;
		event->to = i + 1;
	}
	return kills;
}

/*
 * Make the schedule.
 */
void
events_make(void)
{
	static const char *const actions[] = {"error", "sleep 300", "exit"};
	int			kills = add_windows();
	bool		others = options.worker_kills > 0;
	int			i;

	add_events(KILL_WORKER, options.worker_kills - kills);
	add_events(KILL_POSTMASTER, (options.postmaster_kills + 1) / 2);
	add_events(KILL_EVERYTHING, options.postmaster_kills / 2);
	if (others)
	{
		add_events(KILL_CALLER, CALLER_KILLS);
		add_events(KILL_CHECKPOINTER, AUXILIARY_KILLS);
		add_events(STOP_FAST, FAST_STOPS);
		add_events(STOP_IMMEDIATE, IMMEDIATE_STOPS);
		add_events(STOP_WORKER, WORKER_STOPS);
		add_events(PAUSE, PAUSES);
		add_events(LOCK, LOCKS);
	}
	if (options.fault_points)
	{
		int			first = event_count;
		int			rounds = is_whole_run() ? POINT_ROUNDS : 3;

		add_events(FAULT_POINT, others ? POINTS * rounds : 0);
		for (i = first; i < event_count; i++)
			events[i].action = actions[(i - first) / POINTS % 3];
	}
	qsort(events, (size_t) event_count, sizeof(Event), by_place);
}

/* -------------------------------------------------------------- the means */

static void
set_phase(Event *event, Phase phase)
{
	event->phase = phase;
	event->since = now();
}

/*
 * The file that arms a fault point.
 */
static char *
point_file(const Event *event)
{
	return text("%s/digipay_fault/%s", options.data, points[event->point]);
}

static void
arm(const Event *event, const char *action)
{
	char	   *directory = text("%s/digipay_fault", options.data);
	char	   *path = point_file(event);
	char	   *part = text("%s.part", path);
	FILE	   *file;

	if (mkdir(directory, 0700) != 0 && errno != EEXIST)
		die("%s: %s", directory, strerror(errno));
	file = fopen(part, "w");
	if (file == NULL || fprintf(file, "%s\n", action) < 0 || fclose(file) != 0 ||
		rename(part, path) != 0)
		die("%s: %s", path, strerror(errno));
	free(directory);
	free(path);
	free(part);
}

/*
 * Has the fault point struck?
 */
static bool
has_struck(const Event *event)
{
	char	   *path = point_file(event);
	bool		struck = access(path, F_OK) != 0;

	free(path);
	return struck;
}

static void
disarm(const Event *event)
{
	char	   *path = point_file(event);

	unlink(path);
	free(path);
}

/*
 * Has the server thrown the monitor out, as it does when it starts anew?
 */
static bool
monitor_lost(void)
{
	PGconn	   *conn = monitor();

	if (conn == NULL)
		return true;
	return !PQconsumeInput(conn) || PQstatus(conn) != CONNECTION_OK;
}

/*
 * Begin or end what a window is about.
 */
static void
set_window(const Fate *fate, bool on)
{
	if (strcmp(fate->window, "freeze") == 0)
	{
		main_double.frozen = on;
		kill(main_double.pid, on ? SIGSTOP : SIGCONT);
	}
	else if (strcmp(fate->window, "refuse") == 0)
		scene_move_raw(on ? 1 : main_double.raw_port);
	else
	{
		char	   *order = on ? text("{\"accept_fault\": \"%s\"}", fate->window) :
			strdup("{\"accept_fault\": null}");

		free(double_call(&main_double, "POST", "/control", order));
		free(order);
	}
}

/* ------------------------------------------------------------- the events */

/*
 * The event is over: what can be said by now is said.
 */
static void
finish(Event *event)
{
	set_phase(event, OVER);
	done[event->kind]++;
	if (!main_double.frozen && (options.stop_at_first || current % 8 == 7))
		judge_so_far();
}

/*
 * Strike the process, if there is one and its moment has come.
 */
static bool
strike(Event *event)
{
	pid_t		pid;

	switch (event->kind)
	{
		case KILL_WORKER:
			if (event->moment == ON_RECEIPT && now() - event->since < 1 &&
				double_in_flight(&main_double) == 0)
				return false;
			pid = child_called(postmaster, "digipay worker");
			break;
		case KILL_CALLER:
			pid = a_busy_backend();
			if (pid == 0 && now() - event->since > 2)
				pid = child_called(postmaster, "[local]");
			break;
		default:
			pid = child_called(postmaster, "checkpointer");
			break;
	}
	if (pid == 0)
		return false;
	victim = pid;
	kill(pid, SIGKILL);
	return true;
}

/*
 * kill -9 of one of the server's processes, after which the postmaster ends
 * the others and starts anew.
 */
static void
go_on_crash(Event *event)
{
	bool		by_point = event->kind == KILL_WORKER && event->moment == BY_FAULT_POINT;

	switch (event->phase)
	{
		case DUE:
			if (event->strike_at == 0)
			{
				if (monitor() == NULL)
					return;
				event->strike_at = now() +
					(event->moment == AFTER_A_WHILE ? (event->at % 60) / 1000.0 : 0);
				if (by_point)
					arm(event, "kill");
			}
			if (now() < event->strike_at)
				return;
			if (by_point && !has_struck(event))
			{
				if (now() - event->since < 3)
					return;
				disarm(event);
				event->moment = AT_ONCE;
				return;
			}
			if (by_point)
				struck_points[event->point]++;
			if (by_point || strike(event))
				set_phase(event, STRUCK);
			else if (now() - event->since > ENDURE)
			{
				violation("the worker comes back", "nothing to kill: %s", kind_names[event->kind]);
				finish(event);
			}
			return;
		case STRUCK:
			if (monitor_lost())
			{
				monitor_close();
				set_phase(event, STARTING);
			}
			else if (now() - event->since > ENDURE)
				die("the server did not notice: %s", kind_names[event->kind]);
			return;
		default:
			if (monitor() != NULL && clients_connected() > 0)
				finish(event);
			else if (now() - event->since > 60)
				die("the server did not come back");
	}
}

/*
 * No row says "sending" whose owner is gone: what said so when the server came
 * back must have changed within ten seconds.
 */
static void
look_at_recovery(Event *event)
{
	char	   *sql;
	char	   *left;

	if (in_flight_list == NULL)
	{
		in_flight_list = monitor_value("SELECT coalesce(array_agg(ref_id), '{}')::text "
									   "FROM digipay_payment WHERE state = 'sending'");
		looked_at = 0;
		return;
	}
	if (now() - looked_at < 0.1)
		return;
	looked_at = now();
	sql = text("SELECT count(*) FROM digipay_payment WHERE state = 'sending' AND ref_id = ANY('%s')",
			   in_flight_list);
	left = monitor_value(sql);
	check("none is sending without an owner");
	if (left && strcmp(left, "0") != 0 && now() - event->since > 10)
		violation("none is sending without an owner", "%s ten seconds after the start, of %.100s",
				  left, in_flight_list);
	else if (left == NULL || strcmp(left, "0") != 0)
	{
		free(sql);
		free(left);
		return;
	}
	free(sql);
	free(left);
	free(in_flight_list);
	in_flight_list = NULL;
	hold = false;
	finish(event);
}

/*
 * The postmaster itself.
 */
static void
go_on_restart(Event *event)
{
	int			i;

	switch (event->phase)
	{
		case DUE:
			/* with something in flight, if there is anything */
			if (event->kind != STOP_IMMEDIATE && now() - event->since < 1 &&
				double_in_flight(&main_double) == 0)
				return;
			monitor_close();
			/* so that it starts no more processes */
			if (event->kind == KILL_POSTMASTER || event->kind == KILL_EVERYTHING)
				kill(postmaster, SIGSTOP);
			children_of(postmaster, children, &child_count, MOST_CHILDREN);
			for (i = 0; event->kind == KILL_EVERYTHING && i < child_count; i++)
				kill(children[i], SIGKILL);
			kill(postmaster, event->kind == STOP_FAST ? SIGINT :
				 event->kind == STOP_IMMEDIATE ? SIGQUIT : SIGKILL);
			set_phase(event, DYING);
			return;
		case DYING:
			for (i = 0; i < child_count && gone(children[i]); i++)
				;
			if (server_gone(postmaster) && i == child_count)
			{
				postmaster = server_start(options.data, options.socket_dir, options.log);
				set_phase(event, STARTING);
			}
			else if (now() - event->since > ENDURE)
			{
				violation("the server ends", "after %s", kind_names[event->kind]);
				for (i = 0; i < child_count; i++)
					kill(children[i], SIGKILL);
				kill(postmaster, SIGKILL);
				event->since = now();
			}
			return;
		case STARTING:
			hold = true;
			if (server_gone(postmaster))
			{
				/* one of the old processes may have escaped our list */
				if (now() - event->since > ENDURE)
					die("the server did not start; see %s", options.log);
				usleep(200000);
				postmaster = server_start(options.data, options.socket_dir, options.log);
			}
			else if (monitor() != NULL)
				set_phase(event, RECOVERING);
			else if (now() - event->since > 60)
				die("the server did not start in time");
			return;
		default:
			look_at_recovery(event);
	}
}

/*
 * An orderly end of the worker: the next call brings another one.
 */
static void
go_on_stop_worker(Event *event)
{
	if (event->phase == DUE)
	{
		victim = child_called(postmaster, "digipay worker");
		if (victim)
		{
			kill(victim, SIGTERM);
			set_phase(event, DYING);
		}
		else if (now() - event->since > ENDURE)
			finish(event);
	}
	else if (gone(victim))
		finish(event);
	else if (now() - event->since > ENDURE)
	{
		violation("the worker ends", "SIGTERM was not enough");
		kill(victim, SIGKILL);
		finish(event);
	}
}

/*
 * Nothing is paid through a server for a moment.
 */
static void
go_on_pause(Event *event)
{
	bool		pause = event->phase == DUE;
	char	   *sql;

	if (!pause && now() - event->since <= PAUSE_SECONDS)
		return;
	sql = text("ALTER SERVER %s OPTIONS (SET paused '%s')",
			   server_in("plain", event->at % 2 == 1), pause ? "true" : "false");
	monitor_exec(sql);
	free(sql);
	if (pause)
		set_phase(event, STRUCK);
	else
		finish(event);
}

/*
 * Somebody holds rows of payments in flight, longer than the worker waits.
 */
static void
go_on_lock(Event *event)
{
	if (event->phase == DUE)
	{
		PGresult   *result;
		int			count;

		if (locker == NULL)
			locker = PQconnectdb(conninfo(options.socket_dir, "postgres"));
		PQclear(PQexec(locker, "BEGIN"));
		result = PQexec(locker, "SELECT 1 FROM digipay_payment WHERE state IN ('sending', 'queued') "
						"LIMIT 5 FOR UPDATE SKIP LOCKED");
		count = PQntuples(result);
		PQclear(result);
		if (count > 0)
			set_phase(event, STRUCK);
		else
		{
			PQclear(PQexec(locker, "ROLLBACK"));
			if (now() - event->since > 2)
				set_phase(event, OVER);
		}
	}
	else if (now() - event->since > LOCK_SECONDS)
		finish(event);
	if (event->phase == OVER || PQstatus(locker) != CONNECTION_OK)
	{
		PQfinish(locker);
		locker = NULL;
	}
}

/*
 * A fault point that does not kill.
 */
static void
go_on_point(Event *event)
{
	if (event->phase == DUE)
	{
		arm(event, event->action);
		set_phase(event, STRUCK);
	}
	else if (has_struck(event))
	{
		struck_points[event->point]++;
		finish(event);
	}
	else if (now() - event->since > 2)
	{
		disarm(event);
		set_phase(event, OVER);
	}
}

/*
 * A window: until its payments have been tried.
 */
static void
go_on_window(Event *event)
{
	if (event->phase == DUE)
	{
		set_window(event->fate, true);
		set_phase(event, STRUCK);
	}
	else if (window_over(event->at, event->to) || now() - event->since > 5)
	{
		set_window(event->fate, false);
		finish(event);
	}
}

/*
 * How far the clients may go: not into a window before its time, nor far
 * beyond an event that is due.
 */
static void
set_gate(void)
{
	int			i;

	gate = INT_MAX;
	for (i = current; i < event_count; i++)
	{
		const Event *event = &events[i];
		int			limit = event->at + SLACK;

		if (event->kind == WINDOW)
			limit = event->phase == STRUCK ? event->to : event->at;
		if (limit < gate)
			gate = limit;
	}
}

/*
 * One round.
 */
void
events_turn(void)
{
	Event	   *event = &events[current];

	set_gate();
	if (current >= event_count)
		return;
	if (event->phase == WAITING)
	{
		if (cursor < event->at || clients_connected() == 0)
			return;
		set_phase(event, DUE);
	}
	switch (event->kind)
	{
		case KILL_WORKER:
		case KILL_CALLER:
		case KILL_CHECKPOINTER:
			go_on_crash(event);
			break;
		case KILL_POSTMASTER:
		case KILL_EVERYTHING:
		case STOP_FAST:
		case STOP_IMMEDIATE:
			go_on_restart(event);
			break;
		case STOP_WORKER:
			go_on_stop_worker(event);
			break;
		case PAUSE:
			go_on_pause(event);
			break;
		case LOCK:
			go_on_lock(event);
			break;
		case FAULT_POINT:
			go_on_point(event);
			break;
		case WINDOW:
			go_on_window(event);
			break;
		case KINDS:
			break;
	}
	if (event->phase == OVER)
		current++;
}

/*
 * Has all of it happened?
 */
bool
events_over(void)
{
	return current >= event_count;
}

/*
 * Has as much happened as was asked for?
 */
bool
events_cover(void)
{
	int			i;

	for (i = 0; i < POINTS && options.fault_points && is_whole_run(); i++)
	{
		if (struck_points[i] < ENOUGH_STRUCK)
			return false;
	}
	return done[KILL_WORKER] >= options.worker_kills &&
		done[KILL_POSTMASTER] + done[KILL_EVERYTHING] >= options.postmaster_kills;
}

/*
 * Say what has happened.
 */
void
events_report(void)
{
	int			i;

	for (i = 0; i < KINDS; i++)
	{
		if (done[i] > 0)
			printf("%7d %s\n", done[i], kind_names[i]);
	}
	for (i = 0; i < POINTS && options.fault_points; i++)
		printf("%7d fault point %s\n", struck_points[i], points[i]);
}
