/*
 * wire.c
 *		HTTP/1.1 requests, read by hand for the raw listener: pure.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "wire.h"

/*
 * The value of a header within the head, or NULL.  The head is NUL-terminated.
 */
static const char *
find_header(const char *head, const char *name)
{
	size_t		length = strlen(name);
	const char *line = strstr(head, "\r\n");

	while (line)
	{
		line += 2;
		if (strncasecmp(line, name, length) == 0 && line[length] == ':')
			return line + length + 1 + strspn(line + length + 1, " \t");
		line = strstr(line, "\r\n");
	}
	return NULL;
}

/*
 * Undo %XX and + in place.
 */
static void
url_decode(char *text)
{
	char	   *to = text;

	for (; *text; text++)
	{
		unsigned int byte;

		if (*text == '%' && sscanf(text + 1, "%2x", &byte) == 1 && text[1] && text[2])
		{
			*to++ = (char) byte;
			text += 2;
		}
		else
			*to++ = *text == '+' ? ' ' : *text;
	}
	*to = '\0';
}

/*
 * Cut a NUL-terminated head up into a request that points into it.  False
 * when it is none.  Leaves the body alone.
 */
bool
wire_parse(char *head, WireRequest *request)
{
	const char *length = find_header(head, "Content-Length");
	const char *kept = find_header(head, "Connection");
	char	   *rest = head;
	char	   *target;

	request->last = kept && strncasecmp(kept, "close", 5) == 0;
	request->length = length ? strtoul(length, NULL, 10) : 0;
	request->method = strsep(&rest, " ");
	target = rest ? strsep(&rest, " \r") : NULL;
	if (target == NULL || *target != '/')
		return false;
	request->path = strsep(&target, "?");
	request->query = target;
	return true;
}

/*
 * Read the members that /books knows out of a query, which is cut up and may
 * be NULL.
 */
void
wire_query(char *query, const char **ref_id, bool *summary)
{
	char	   *part;

	while ((part = strsep(&query, "&")) != NULL)
	{
		if (strncmp(part, "ref_id=", 7) == 0)
		{
			url_decode(part + 7);
			*ref_id = part + 7;
		}
		else if (strcmp(part, "summary=1") == 0)
			*summary = true;
	}
}
