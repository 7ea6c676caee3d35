// The playground begins where the page has a place for it.

import {start} from './view.js';

start(document.getElementById('playground'));
