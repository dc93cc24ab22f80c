/*-------------------------------------------------------------------------
 *
 * transport_url.c
 *	  What an endpoint's address says, in libcurl's own reading.
 *
 * The same parser reads the address when it is checked and when it is sent to,
 * so that nothing can mean one host here and another there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <curl/curl.h>

#include "url.h"

/*
 * Is this host the machine itself: 127.0.0.0/8, [::1] or localhost?  Another
 * name may resolve to it too, but could resolve to something else tomorrow.
 */
static bool
host_is_loopback(const char *host)
{
	struct in_addr v4;

	if (strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0)
		return true;
	return inet_pton(AF_INET, host, &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127;
}

/* Is there such a part, however long? */
static bool
has_part(CURLU *handle, CURLUPart part)
{
	char	   *text = NULL;
	bool		found = curl_url_get(handle, part, &text, 0) == CURLUE_OK;

	curl_free(text);
	return found;
}

/*
 * libcurl guesses what a sloppy address may mean; we take only what is written
 * as it should be: two slashes, then a host of non-empty labels.
 */
static bool
is_written_properly(const char *text)
{
	const char *host = pg_strncasecmp(text, "https://", 8) == 0 ? text + 8 :
		pg_strncasecmp(text, "http://", 7) == 0 ? text + 7 : NULL;

	if (host == NULL || *host == '\0' || strchr("/?.", *host) != NULL)
		return false;
	for (const char *p = text; *p; p++)
	{
		if (*p <= ' ' || *p > '~' || *p == '#' || *p == '\\')
			return false;
	}
	return true;
}

/* Copy one part of the address; false when it is not there or too long. */
static bool
get_part(CURLU *handle, CURLUPart part, char *dest, size_t size)
{
	char	   *text = NULL;
	bool		found;

	found = curl_url_get(handle, part, &text, 0) == CURLUE_OK &&
		strlen(text) < size;
	if (found)
		strlcpy(dest, text, size);
	curl_free(text);
	return found;
}

/* Read an address by libcurl's parser; see dp_url_read. */
static bool
parse(const char *text, DpUrl *url)
{
	CURLU	   *handle;
	char		scheme[8];
	char		port[8] = "";
	bool		good;

	memset(url, 0, sizeof(*url));
	if (!is_written_properly(text))
		return false;
	handle = curl_url();
	if (handle == NULL)
		return false;
	good = curl_url_set(handle, CURLUPART_URL, text, 0) == CURLUE_OK &&
		get_part(handle, CURLUPART_SCHEME, scheme, sizeof(scheme)) &&
		get_part(handle, CURLUPART_HOST, url->host, sizeof(url->host)) &&
		url->host[0] != '\0' && strstr(url->host, "..") == NULL;
	(void) get_part(handle, CURLUPART_PORT, port, sizeof(port));
	if (good && strcmp(port, "0") != 0)
	{
		url->tls = strcmp(scheme, "https") == 0;
		good = url->tls || strcmp(scheme, "http") == 0;
		url->credentials = has_part(handle, CURLUPART_USER) ||
			has_part(handle, CURLUPART_PASSWORD);
		for (char *p = url->host; *p; p++)
			*p = pg_ascii_tolower((unsigned char) *p);
		url->loopback = host_is_loopback(url->host);
	}
	else
		good = false;
	curl_url_cleanup(handle);
	return good;
}

/*
 * Read an address.  False when it is not an http or https URL with a host, or
 * has characters that do not belong in one.
 *
 * The last one is remembered: each payment asks several times for the same.
 */
bool
dp_url_read(const char *text, DpUrl *url)
{
	static char last_text[256];
	static DpUrl last_url;
	bool		good;

	if (last_text[0] != '\0' && strcmp(text, last_text) == 0)
	{
		*url = last_url;
		return true;
	}
	good = parse(text, url);
	if (good && strlen(text) < sizeof(last_text))
	{
		strlcpy(last_text, text, sizeof(last_text));
		last_url = *url;
	}
	return good;
}
