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
	char		dummy[256];
	bool		good;

	memset(url, 0, sizeof(*url));
	for (const char *p = text; *p; p++)
	{
		if (*p <= ' ' || *p > '~' || *p == '#' || *p == '\\')
			return false;
	}
	handle = curl_url();
	if (handle == NULL)
		return false;
	good = curl_url_set(handle, CURLUPART_URL, text, 0) == CURLUE_OK &&
		get_part(handle, CURLUPART_SCHEME, scheme, sizeof(scheme)) &&
		get_part(handle, CURLUPART_HOST, url->host, sizeof(url->host)) &&
		url->host[0] != '\0';
	if (good)
	{
		url->tls = strcmp(scheme, "https") == 0;
		good = url->tls || strcmp(scheme, "http") == 0;
		url->credentials = get_part(handle, CURLUPART_USER, dummy, sizeof(dummy)) ||
			get_part(handle, CURLUPART_PASSWORD, dummy, sizeof(dummy));
		for (char *p = url->host; *p; p++)
			*p = pg_ascii_tolower((unsigned char) *p);
		url->loopback = host_is_loopback(url->host);
	}
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
