// Games to try: what each changes of the defaults, and what to look at.

export const lessons = [];
