/*
 * route.c
 *		Which part of the double answers a request.
 *
 *	POST   .../v1/transaction		a transaction, dialect digiflazz
 *	POST   .../cek-saldo, .../price-list, .../deposit	see desk.c
 *	POST   /control					see control.c
 *	POST   /books/reset				empties the books
 *	DELETE /books					the same
 *	GET    /books					the books
 *	POST   anything else			a transaction, dialect digiswitch
 */
#include <stdlib.h>
#include <string.h>

#include "books.h"
#include "buffer.h"
#include "control.h"
#include "desk.h"
#include "route.h"

/*
 * Free what an answer holds.
 */
void
answer_free(Answer *answer)
{
	free(answer->content_type);
	free(answer->headers);
	free(answer->body);
	free(answer->ref_id);
	memset(answer, 0, sizeof(*answer));
}

/*
 * Does text end in this?
 */
static bool
ends_with(const char *text, const char *end)
{
	size_t		length = strlen(text);
	size_t		end_length = strlen(end);

	return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

/*
 * Is this a transaction, and in which dialect?
 */
bool
route_is_transaction(const char *method, const char *path, DialectNumber *dialect)
{
	if (strcmp(method, "POST") != 0 || desk_is_call(path) ||
		strcmp(path, "/control") == 0 || strcmp(path, "/books/reset") == 0)
		return false;
	*dialect = ends_with(path, "/v1/transaction") ? DIALECT_DIGIFLAZZ : DIALECT_DIGISWITCH;
	return true;
}

/*
 * Answer with the books, or with one ref_id's part of them.
 */
static void
show_books(const Route *route, Answer *answer)
{
	Buffer		json = {0};

	if (route->ref_id)
		books_show_ref(&json, route->ref_id);
	else
		books_show(&json, !route->summary);
	answer->http_status = 200;
	answer->body = json.data;
	answer->length = json.length;
}

/*
 * Answer with a constant text.
 */
static void
answer_text(Answer *answer, int http_status, const char *json)
{
	answer->http_status = http_status;
	answer->body = must_copy(json);
	answer->length = strlen(json);
}

/*
 * Answer what is no transaction.
 */
void
route_answer(const Route *route, Answer *answer)
{
	bool		post = strcmp(route->method, "POST") == 0;

	if (post && strcmp(route->path, "/control") == 0)
		control_answer(route->body, answer);
	else if (post && desk_is_call(route->path))
		desk_answer(route->path, route->body, answer);
	else if (strcmp(route->method, "GET") == 0 && strcmp(route->path, "/books") == 0)
		show_books(route, answer);
	else if ((post && strcmp(route->path, "/books/reset") == 0) ||
			 (strcmp(route->method, "DELETE") == 0 && strcmp(route->path, "/books") == 0))
	{
		books_reset();
		desk_reset();
		answer_text(answer, 200, "{\"ok\":true}");
	}
	else
		answer_text(answer, 404, "{\"error\":\"not found\"}");
}
