/*
 * settings.c
 *		The defaults.
 */
#include "settings.h"

Settings	settings = {
	.username = "demo",
	.api_key = "demo-key",
	.delay = 0,
	.pending = 1000,
};
