/*
 * http.h
 *		The well-behaved listeners: http and https.
 */
#ifndef HTTP_H
#define HTTP_H

/* PEM files; both NULL for plain http */
typedef struct HttpCertificate
{
	const char *cert_file;
	const char *key_file;
} HttpCertificate;

typedef struct HttpListener HttpListener;

extern HttpListener *http_start(int port, const HttpCertificate *certificate);
extern int	http_port(const HttpListener *listener);
extern void http_stop(HttpListener *listener);

#endif							/* HTTP_H */
