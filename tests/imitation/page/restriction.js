// The reach-out timelock: for a while the account may not write to people it never exchanged a message with.
//
// The server tells the page in advance, or refuses the send with 463; the page shows the first in this module and the
// second as a failed message.
'use strict';

define('PageRestriction', (exports) => {
  let restriction = null;
  exports.set = (given) => (restriction = given);
  exports.isInForce = () => restriction !== null && use('WATimeUtils').unixTime() < restriction.until;
  use('PageConnection').on('restriction', ({ restriction: given }) => exports.set(given));
});

define('WAWebReachoutTimelockUtils', (exports) => {
  exports.isUserReachoutTimelocked = () => use('PageRestriction').isInForce();
  // Conversations that exist may go on.
  exports.canSendMsgWhileTimelocked = ({ chat }) => chat.msgs.some((message) => !message.id.fromMe);
});
