/* clock.h - time that passed: seconds since some moment, never set back. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

double clock_seconds(void);

#endif
