/* SPDX-License-Identifier: Apache-2.0 */
/* jansson's loops as loops, for cppcheck, which does not read the system's headers (and takes no such macro by -D). */
#ifndef TESTS_CPPCHECK_H
#define TESTS_CPPCHECK_H

#define json_array_foreach(array, index, value)                                                                        \
	for ((index) = 0; ((value) = json_array_get((array), (index))); (index)++)
#define json_object_foreach(object, key, value)                                                                        \
	for ((key) = json_first((object), &(value)); (key); (key) = json_next((object), (key), &(value)))

#endif
