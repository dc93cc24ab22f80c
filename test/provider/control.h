/*
 * control.h
 *		POST /control: what a test changes while the double runs.
 */
#ifndef CONTROL_H
#define CONTROL_H

#include "answer.h"

extern void control_answer(const char *body, Answer *answer);

#endif							/* CONTROL_H */
